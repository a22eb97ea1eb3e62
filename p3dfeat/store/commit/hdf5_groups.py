"""Read and write HDF5's lists of names byte by byte, to add videos to a file without changing its present data.

A group of the oldest format, the default of h5py, is an object header with a symbol table message that refers to a
B-tree and a heap. The heap holds the members' names. The leaves of the B-tree are symbol nodes, which hold for each
member the addresses of its name and its object header, sorted by the bytes of the name. HDF5 changes these in place, so
a kill in between leaves a file that does not open. Here, the lists that get a new member are written again behind the
file's end, and so are those of all folders above them; the old lists stay as they are. Then 56 bytes of the superblock,
with the addresses of the file's end and of the root group, switch the file from the old to the new state.

Offsets and formats: HDF5 File Format Specification 3.0, II.A, III.A, III.B, III.D, IV.A.1.
"""

import os
import struct
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Final

from p3dfeat.store.layout import VIDEO_MARK

UNDEFINED: Final = 0xFFFF_FFFF_FFFF_FFFF
SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
SUPERBLOCK: Final = struct.Struct("<8sBBBxBBBxHHIQQQQ")  # all but the root group's symbol table entry
FLIP_OFFSET: Final = 40  # of the part of the superblock that selects the state of the file
FLIP: Final = struct.Struct("<QQQQIIQQ")  # end of file, driver; root: name, header, kind of cache, -, B-tree, heap
HEADER: Final = struct.Struct("<BxHII4x")  # version, messages, links to it, bytes of its first block
MESSAGE: Final = struct.Struct("<HHB3x")  # type, bytes, flags
NIL, ATTRIBUTE, COMMENT, CONTINUED, SYMBOL_TABLE, MODIFIED = 0x00, 0x0C, 0x0D, 0x10, 0x11, 0x12
MOST_BLOCKS: Final = 10_000  # of an object header; HDF5 uses a few, but a damaged file may repeat one forever
KNOWN: Final = frozenset({NIL, ATTRIBUTE, COMMENT, CONTINUED, SYMBOL_TABLE, MODIFIED})
HEAP: Final = struct.Struct("<4sB3xQQQ")  # signature, version, bytes of names, free list, address of the names
NO_FREE_LIST: Final = 1
SYMBOLS: Final = struct.Struct("<4sBxH")  # signature, version, entries; then the entries
ENTRY: Final = struct.Struct("<Q32s")  # place of the name in the heap, Member.target
TARGET: Final = struct.Struct("<QIIQQ")  # object header, kind of cache, -, and for a group its B-tree and heap
NOT_CACHED, GROUP_CACHED, SOFT_LINK = 0, 1, 2
TREE: Final = struct.Struct("<4sBBHQQ")  # signature, type, level, entries, left, right; then keys between children

# Changes in a folder, by name: a video's object header, None for a removed video, or a folder's own changes.
Tree = dict[bytes, "int | Tree | None"]


class TakenError(Exception):
    """The name for a new video, or for a folder of videos, is already used. The text is its id."""


class OtherShapeError(Exception):
    """A file with lists of another format; HDF5 may still read it."""


@dataclass(frozen=True)
class Superblock:
    """Values from the beginning of a file: its end, the address of its root group, the size of nodes."""

    end: int
    root: int
    leaf_k: int  # half the symbols of a node
    internal_k: int  # half the children of a B-tree's node

    @classmethod
    def read(cls, fd: int) -> "Superblock":
        """Raises OtherShapeError, OSError."""
        data = os.pread(fd, FLIP_OFFSET + FLIP.size, 0)
        if len(data) < FLIP_OFFSET + FLIP.size:
            raise OtherShapeError("too short")
        signature, version, *versions, offsets, lengths, leaf_k, internal_k, _, base, free, _, _ = SUPERBLOCK.unpack(
            data[: SUPERBLOCK.size]
        )
        end, driver, _, root, *_ = FLIP.unpack(data[FLIP_OFFSET:])
        plain = (signature, version, *versions, offsets, lengths) == (SIGNATURE, 0, 0, 0, 0, 8, 8)
        if not plain or (base, free, driver) != (0, UNDEFINED, UNDEFINED) or end > os.fstat(fd).st_size:
            raise OtherShapeError("another superblock")
        return cls(end, root, leaf_k, internal_k)


@dataclass(frozen=True)
class _Message:
    type: int
    flags: int
    data: bytes


@dataclass(frozen=True)
class _Group:
    """The content of a folder: messages of its object header, and {name: target} of its members."""

    messages: Sequence[_Message]
    members: Mapping[bytes, bytes]


EMPTY: Final = _Group((_Message(SYMBOL_TABLE, 0, bytes(16)),), {})


def tree_of(videos: Mapping[str, int | None]) -> Tree:
    """Object headers (or None) by id, converted to nested folders."""
    root: Tree = {}
    for id, header in videos.items():
        *folders, name = id.encode().split(b"/")
        inner = root
        for folder in folders:
            found = inner.setdefault(folder, {})
            assert isinstance(found, dict)
            inner = found
        inner[name] = header
    return root


class Lists:
    """The lists of names of an open file, and the new lists with videos added or removed."""

    def __init__(self, fd: int, removed: Set[str] = frozenset()):
        """removed: ids of videos in the file. Raises OtherShapeError, OSError."""
        self._removed = removed
        self.superblock = Superblock.read(fd)
        self._fd = fd
        self._groups: dict[int, _Group] = {}  # read before, by object header

    def check(self, ids: Sequence[str]) -> None:
        """Raises OtherShapeError if the file's lists cannot be rewritten with these videos, or TakenError."""
        self._check(self.superblock.root, tree_of(dict.fromkeys([*self._removed, *ids], 0)), b"")

    def _check(self, header: int, new: Tree, way: bytes) -> None:
        group = self._group(header)
        if way and any(_name_of(message) == VIDEO_MARK.encode() for message in group.messages):
            raise TakenError(way.decode())
        for name, child in new.items():
            if name in group.members:
                place = way + b"/" + name if way else name
                if not isinstance(child, dict):
                    if place.decode() in self._removed:
                        continue
                    raise TakenError(place.decode())
                self._check(_header_of(group.members[name]), child, place)

    def added(self, videos: Mapping[str, int], end: int) -> tuple[bytes, bytes]:
        """The bytes to write at ``end``, and then at FLIP_OFFSET, to add the videos {id: object header} to the file.

        Raises OtherShapeError, OSError.
        """
        pieces = _Pieces(end)
        target = self._made(self.superblock.root, tree_of({**dict.fromkeys(self._removed), **videos}), pieces)
        assert target is not None  # the root stays
        header, kind, _, tree, heap = TARGET.unpack(target)
        return pieces.data(), FLIP.pack(pieces.end, UNDEFINED, 0, header, kind, 0, tree, heap)

    def _made(self, header: int | None, new: Tree, pieces: "_Pieces") -> bytes | None:
        """Write a folder with its old and new members, and the folders below it; return its target.

        None if it is empty now: no members, and no attributes of the user.
        """
        old = EMPTY if header is None else self._group(header)
        members = dict(old.members)
        for name, child in new.items():
            if isinstance(child, dict):
                inner = _header_of(members[name]) if name in members else None
                made = self._made(inner, child, pieces)
            else:
                made = None if child is None else TARGET.pack(child, NOT_CACHED, 0, 0, 0)
            if made is not None:
                members[name] = made
            else:
                members.pop(name, None)
        is_bare = {message.type for message in old.messages} <= {SYMBOL_TABLE, MODIFIED}
        if not members and is_bare and header != self.superblock.root:
            return None
        return self._write(_Group(old.messages, members), pieces)

    def _write(self, group: _Group, pieces: "_Pieces") -> bytes:
        names = sorted(group.members)
        padded = [name + bytes(8 - len(name) % 8) for name in names]
        places = [8]  # in the heap; its first eight bytes are the empty name, which sorts before all others
        for name in padded:
            places.append(places[-1] + len(name))
        text = pieces.add(bytes(8) + b"".join(padded))
        heap = pieces.add(HEAP.pack(b"HEAP", 0, places[-1], NO_FREE_LIST, text))
        size = 2 * self.superblock.leaf_k
        nodes = []  # (address, place of the name of its last member)
        for first in range(0, len(names), size):
            part = range(first, min(first + size, len(names)))
            entries = b"".join(ENTRY.pack(places[n], group.members[names[n]]) for n in part)
            node = SYMBOLS.pack(b"SNOD", 1, len(part)) + entries.ljust(size * ENTRY.size, b"\0")
            nodes.append((pieces.add(node), places[part[-1]]))
        tree = self._write_tree(nodes, pieces)
        messages = [
            _Message(message.type, message.flags, struct.pack("<QQ", tree, heap))
            if message.type == SYMBOL_TABLE
            else message
            for message in group.messages
        ]
        block = b"".join(MESSAGE.pack(item.type, len(item.data), item.flags) + item.data for item in messages)
        header = pieces.add(HEADER.pack(1, len(messages), 1, len(block)) + block)
        return TARGET.pack(header, GROUP_CACHED, 0, tree, heap)

    def _write_tree(self, nodes: list[tuple[int, int]], pieces: "_Pieces") -> int:
        """Write a B-tree over (address, place of the greatest name) of nodes in order; return its root's address."""
        width, level = 2 * self.superblock.internal_k, 0
        if not nodes:  # as HDF5 writes an empty group
            head = TREE.pack(b"TREE", 0, 0, 0, UNDEFINED, UNDEFINED)
            return pieces.add(head.ljust(TREE.size + 8 * (2 * width + 1), b"\0"))
        while True:
            above, bytes_of_node = [], TREE.size + 8 * (2 * width + 1)
            firsts = range(0, len(nodes), width)
            start = pieces.end
            before = 0  # the empty name
            for number, first in enumerate(firsts):
                part = nodes[first : first + width]
                left = start + (number - 1) * bytes_of_node if number else UNDEFINED
                right = start + (number + 1) * bytes_of_node if number + 1 < len(firsts) else UNDEFINED
                head = TREE.pack(b"TREE", 0, level, len(part), left, right)
                keys = struct.pack(f"<{2 * len(part) + 1}Q", before, *(value for node in part for value in node))
                before = part[-1][1]
                above.append((pieces.add((head + keys).ljust(bytes_of_node, b"\0")), before))
            if len(above) == 1:
                return above[0][0]
            nodes, level = above, level + 1

    def _group(self, header: int) -> _Group:
        if header not in self._groups:
            try:
                self._groups[header] = self._read_group(header)
            except (ValueError, struct.error) as error:
                raise OtherShapeError(f"damaged ({error})") from None
        return self._groups[header]

    def _read_group(self, header: int) -> _Group:
        messages = list(self._messages(header))
        tables = [message for message in messages if message.type == SYMBOL_TABLE]
        if len(tables) != 1 or not {message.type for message in messages} <= KNOWN:
            raise OtherShapeError("a group of another kind")
        tree, heap = struct.unpack("<QQ", tables[0].data[:16])
        kept = [message for message in messages if message.type not in (NIL, CONTINUED)]
        return _Group(kept, dict(self._members(tree, self._names(heap))))

    def _messages(self, header: int) -> Iterator[_Message]:
        version, _, links, size = HEADER.unpack(self._read(header, HEADER.size))
        if version != 1 or links != 1:
            raise OtherShapeError("an object header of another kind, or one with two names")
        blocks = [(header + HEADER.size, size)]
        for offset, count in blocks:
            block, at = self._read(offset, count), 0
            while at + MESSAGE.size <= count:
                type, length, flags = MESSAGE.unpack_from(block, at)
                data = block[at + MESSAGE.size : at + MESSAGE.size + length]
                at += MESSAGE.size + length
                if type == CONTINUED and len(blocks) < MOST_BLOCKS:
                    blocks.append(struct.unpack("<QQ", data[:16]))
                yield _Message(type, flags, data)

    def _names(self, heap: int) -> bytes:
        signature, version, size, _, place = HEAP.unpack(self._read(heap, HEAP.size))
        if (signature, version) != (b"HEAP", 0):
            raise OtherShapeError("a heap of another kind")
        return self._read(place, size)

    def _members(self, node: int, names: bytes, level: int | None = None) -> Iterator[tuple[bytes, bytes]]:
        """All (name, target) below a node of a B-tree, in order."""
        signature, type, found, count, _, _ = TREE.unpack(self._read(node, TREE.size))
        if (signature, type) != (b"TREE", 0) or level not in (None, found):
            raise OtherShapeError("a B-tree of another kind")
        children = struct.unpack(f"<{2 * count + 1}Q", self._read(node + TREE.size, 8 * (2 * count + 1)))[1::2]
        for child in children:
            if found:
                yield from self._members(child, names, found - 1)
            else:
                yield from self._symbols(child, names)

    def _symbols(self, node: int, names: bytes) -> Iterator[tuple[bytes, bytes]]:
        data = self._read(node, SYMBOLS.size + 2 * self.superblock.leaf_k * ENTRY.size)
        signature, version, count = SYMBOLS.unpack_from(data)
        if (signature, version) != (b"SNOD", 1):
            raise OtherShapeError("symbols of another kind")
        for place, target in ENTRY.iter_unpack(data[SYMBOLS.size : SYMBOLS.size + count * ENTRY.size]):
            if TARGET.unpack(target)[1] == SOFT_LINK:  # its target is stored in the heap, which is replaced
                raise OtherShapeError("a soft link")
            yield names[place : names.index(b"\0", place)], target

    def _read(self, offset: int, count: int) -> bytes:
        data = os.pread(self._fd, count, offset) if offset < self.superblock.end else b""
        if len(data) < count:
            raise OtherShapeError("cut off")
        return data


def _name_of(message: _Message) -> bytes:
    """Name of an attribute; empty for other messages. HDF5 File Format Specification 3.0, IV.A.2.m."""
    if message.type != ATTRIBUTE:
        return b""
    version, _, count = struct.unpack_from("<BBH", message.data)
    start = 9 if version == 3 else 8
    return message.data[start : start + count].rstrip(b"\0")


def _header_of(target: bytes) -> int:
    header: int = TARGET.unpack(target)[0]
    return header


class _Pieces:
    """Pieces of bytes to be written one after the other from ``end`` on, each at a multiple of eight."""

    def __init__(self, end: int):
        self.end = end
        self._pieces: list[bytes] = []

    def add(self, data: bytes) -> int:
        """Add a piece; return its address."""
        address = self.end
        padded = data + bytes(-len(data) % 8)
        self._pieces.append(padded)
        self.end += len(padded)
        return address

    def data(self) -> bytes:
        return b"".join(self._pieces)

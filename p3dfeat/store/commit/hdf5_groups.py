"""HDF5's lists of names, read and made byte by byte: so that a file can be added to without changing what is in it.

A group of the oldest format, which h5py writes unless told otherwise, is an object header whose symbol table message
names a B-tree and a heap. The heap holds the members' names; the B-tree's leaves are nodes of symbols, which say for
each member where its name and its object header are, in the order of the names' bytes. HDF5 changes these in place, so
that a kill in the middle leaves a file that does not open. Here the lists that gain a member are made anew, to stand
behind the file's end, and so are those of all folders above them; the old ones stay as they are. The 56 bytes of the
superblock that say where the file ends and where its root group is then turn the old file into the new one.

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
FLIP_OFFSET: Final = 40  # of the part of the superblock that says which state the file is in
FLIP: Final = struct.Struct("<QQQQIIQQ")  # end of file, driver; root: name, header, kind of cache, -, B-tree, heap
HEADER: Final = struct.Struct("<BxHII4x")  # version, messages, links to it, bytes of its first block
MESSAGE: Final = struct.Struct("<HHB3x")  # type, bytes, flags
NIL, ATTRIBUTE, COMMENT, CONTINUED, SYMBOL_TABLE, MODIFIED = 0x00, 0x0C, 0x0D, 0x10, 0x11, 0x12
MOST_BLOCKS: Final = 10_000  # of an object header; HDF5 makes a few, a damaged file may name one again and again
KNOWN: Final = frozenset({NIL, ATTRIBUTE, COMMENT, CONTINUED, SYMBOL_TABLE, MODIFIED})
HEAP: Final = struct.Struct("<4sB3xQQQ")  # signature, version, bytes of names, free list, where the names are
NO_FREE_LIST: Final = 1
SYMBOLS: Final = struct.Struct("<4sBxH")  # signature, version, entries; then the entries
ENTRY: Final = struct.Struct("<Q32s")  # where in the heap the name is, Member.target
TARGET: Final = struct.Struct("<QIIQQ")  # object header, kind of cache, -, and for a group its B-tree and heap
NOT_CACHED, GROUP_CACHED, SOFT_LINK = 0, 1, 2
TREE: Final = struct.Struct("<4sBBHQQ")  # signature, type, level, entries, left, right; then keys between children

# What changes below a folder: a video's object header; None, for one that is removed; or a folder.
Tree = dict[bytes, "int | Tree | None"]


class TakenError(Exception):
    """A name that is to be given to a video, or to a folder of videos, is taken. The text is its id."""


class OtherShapeError(Exception):
    """A file that HDF5 may well read, but with lists of another kind."""


@dataclass(frozen=True)
class Superblock:
    """What the beginning of a file says: where it ends, where its root group is, how large nodes are."""

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
    """What is in a folder: messages of its object header, and {name: target} of its members."""

    messages: Sequence[_Message]
    members: Mapping[bytes, bytes]


EMPTY: Final = _Group((_Message(SYMBOL_TABLE, 0, bytes(16)),), {})


def tree_of(videos: Mapping[str, int | None]) -> Tree:
    """Object headers by id, or None, as folders within folders."""
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
    """The lists of names of an open file, and what they would be with more videos, and without some."""

    def __init__(self, fd: int, removed: Set[str] = frozenset()):
        """removed: ids of videos in the file. Raises OtherShapeError, OSError."""
        self._removed = removed
        self.superblock = Superblock.read(fd)
        self._fd = fd
        self._groups: dict[int, _Group] = {}  # read before, by object header

    def check(self, ids: Sequence[str]) -> None:
        """Raises OtherShapeError where the file's lists cannot be made anew with these videos, TakenError."""
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
        """What to write at ``end``, and then at FLIP_OFFSET, so that the file holds the videos {id: object header}.

        Raises OtherShapeError, OSError.
        """
        pieces = _Pieces(end)
        target = self._made(self.superblock.root, tree_of({**dict.fromkeys(self._removed), **videos}), pieces)
        assert target is not None  # the root stays
        header, kind, _, tree, heap = TARGET.unpack(target)
        return pieces.data(), FLIP.pack(pieces.end, UNDEFINED, 0, header, kind, 0, tree, heap)

    def _made(self, header: int | None, new: Tree, pieces: "_Pieces") -> bytes | None:
        """Make a folder with what it held and what is new, and the folders below it; return its target.

        None for one that is left with nothing: no member, and no attribute of the user's.
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
        places = [8]  # in the heap; its first eight bytes are the empty name, which is below all others
        for name in padded:
            places.append(places[-1] + len(name))
        text = pieces.add(bytes(8) + b"".join(padded))
        heap = pieces.add(HEAP.pack(b"HEAP", 0, places[-1], NO_FREE_LIST, text))
        size = 2 * self.superblock.leaf_k
        nodes = []  # (where it is, name of its last member)
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
        """A B-tree over (address, place of the greatest name) of nodes in order; where its root is."""
        width, level = 2 * self.superblock.internal_k, 0
        if not nodes:  # as HDF5 makes an empty group
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
            if TARGET.unpack(target)[1] == SOFT_LINK:  # its end lies in the heap, which does not stay
                raise OtherShapeError("a soft link")
            yield names[place : names.index(b"\0", place)], target

    def _read(self, offset: int, count: int) -> bytes:
        data = os.pread(self._fd, count, offset) if offset < self.superblock.end else b""
        if len(data) < count:
            raise OtherShapeError("cut off")
        return data


def _name_of(message: _Message) -> bytes:
    """What an attribute is called; nothing for other messages. HDF5 File Format Specification 3.0, IV.A.2.m."""
    if message.type != ATTRIBUTE:
        return b""
    version, _, count = struct.unpack_from("<BBH", message.data)
    start = 9 if version == 3 else 8
    return message.data[start : start + count].rstrip(b"\0")


def _header_of(target: bytes) -> int:
    header: int = TARGET.unpack(target)[0]
    return header


class _Pieces:
    """Bytes that will stand one behind the other from ``end`` on, each piece at a multiple of eight."""

    def __init__(self, end: int):
        self.end = end
        self._pieces: list[bytes] = []

    def add(self, data: bytes) -> int:
        """Where it will be."""
        address = self.end
        padded = data + bytes(-len(data) % 8)
        self._pieces.append(padded)
        self.end += len(padded)
        return address

    def data(self) -> bytes:
        return b"".join(self._pieces)

"""How files are damaged: as networks, disks and other people's programs do, and as someone who means harm would.

Every mutation takes its choices from the random generator alone, so that the same seed damages a file in the same way.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

EXTREMES: Final = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
# Before or after which sizes, counts and offsets stand, in MP4, AVI, ASF, MXF, PNG ...
NAMES: Final = (
    *(b"ftyp", b"moov", b"mvhd", b"trak", b"tkhd", b"edts", b"elst", b"mdia", b"mdhd", b"hdlr", b"minf", b"stbl"),
    *(b"stsd", b"stts", b"ctts", b"stss", b"stsc", b"stsz", b"stco", b"mdat", b"moof", b"mfhd", b"traf", b"tfhd"),
    *(b"trun", b"tfdt", b"avcC", b"hvcC", b"av1C", b"avc1", b"hvc1", b"sidx", b"mfra", b"tfra"),
    *(b"RIFF", b"LIST", b"hdrl", b"avih", b"strl", b"strh", b"strf", b"movi", b"idx1", b"00dc", b"01wb", b"JUNK"),
    *(b"OggS", b"FLV\x01", b"IHDR", b"acTL", b"fcTL", b"IDAT", b"fdAT", b"IEND", b"GIF8", b"DKIF", b"FRAME"),
    *(b"\x06\x0e\x2b\x34", b"\x30\x26\xb2\x75", b"\xa1\xdc\xab\x8c", b"\x36\x26\xb2\x75", b"N\xe4\xad\xca"),
    *(b"onMetaData", b"\x00\x00\x01\xb3", b"\x00\x00\x01\xba", b"\x00\x00\x01\xe0", b"\x00\x00\x00\x01"),
)
# Of Matroska: elements whose sizes hold the file together.
EBML: Final = (
    *(b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x11\x4d\x9b\x74", b"\x15\x49\xa9\x66", b"\x16\x54\xae\x6b"),
    *(b"\x1f\x43\xb6\x75", b"\x1c\x53\xbb\x6b", b"\xa3", b"\xa0", b"\xae", b"\xe0", b"\xe7", b"\x44\x89"),
)

Mutation = Callable[[bytearray, random.Random, Sequence[bytes]], str]


def mutated(data: bytes, rng: random.Random, others: Sequence[bytes]) -> tuple[bytes, str]:
    """``data`` damaged in one to three ways, and these in words. others: whole files to take parts from."""
    changed, said = bytearray(data), []
    for _ in range(rng.choice((1, 1, 1, 1, 2, 3))):
        name = rng.choices(tuple(MUTATIONS), weights=tuple(weight for _, weight in MUTATIONS.values()))[0]
        if not changed:
            break
        said.append(f"{name}: {MUTATIONS[name][0](changed, rng, others)}")
    return bytes(changed), "; ".join(said)


def _flip_bits(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> str:
    places = [rng.randrange(len(data)) for _ in range(rng.choice((1, 1, 2, 5, 20)))]
    for place in places:
        data[place] ^= 1 << rng.randrange(8)
    return f"at {_list(places)}"


def _flip_header_bits(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> str:
    """Where most of what counts stands: at the beginning, or the end."""
    reach = min(len(data), 1500)
    places = [rng.randrange(reach) for _ in range(rng.choice((1, 1, 2, 4)))]
    if rng.random() < 0.3:
        places = [len(data) - 1 - place for place in places]
    for place in places:
        data[place] ^= 1 << rng.randrange(8)
    return f"at {_list(places)}"


def _fill(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> str:
    first, length = _stretch(data, rng)
    value = rng.choice((0, 0, 0, 0xFF, rng.randrange(256)))
    data[first : first + length] = bytes([value]) * length
    return f"{length} bytes at {first} with {value}"


def _noise(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> str:
    first, length = _stretch(data, rng)
    data[first : first + length] = rng.randbytes(length)
    return f"{length} bytes at {first}"


def _truncate(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> str:
    kept = rng.choice((rng.randrange(len(data)), max(0, len(data) - rng.randrange(1, 400)), rng.randrange(len(data))))
    del data[kept:]
    return f"to {kept} bytes"


def _behead(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> str:
    gone = rng.randrange(1, len(data)) if rng.random() < 0.5 else min(len(data), rng.randrange(1, 200))
    del data[:gone]
    return f"of {gone} bytes"


def _splice(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> str:
    """The beginning of this file, the end of another."""
    other = rng.choice(others)
    kept, begun = rng.randrange(len(data)), rng.randrange(len(other))
    data[kept:] = other[begun:]
    return f"after {kept} bytes goes on with another file from {begun}"


def _transplant(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> str:
    other = rng.choice(others)
    first, length = _stretch(data, rng)
    begun = rng.randrange(len(other))
    piece = other[begun : begun + length]
    data[first : first + len(piece)] = piece
    return f"{len(piece)} bytes at {first} from another file"


def _remove(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> str:
    first, length = _stretch(data, rng)
    del data[first : first + length]
    return f"{length} bytes at {first}"


def _repeat(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> str:
    first, length = _stretch(data, rng)
    data[first:first] = data[first : first + length]
    return f"{length} bytes at {first}"


def _swap(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> str:
    length = min(rng.choice((16, 188, 512, 2048, 4096)), max(1, len(data) // 3))
    blocks = max(2, len(data) // length)
    a, b = (rng.randrange(blocks) * length for _ in range(2))
    one, other = bytes(data[a : a + length]), bytes(data[b : b + length])
    if len(one) == len(other):
        data[a : a + length], data[b : b + length] = other, one
    return f"blocks of {length} bytes at {a} and {b}"


def _number(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> str:
    """Any 8, 16, 32 or 64 bits become an extreme number."""
    size = rng.choice((1, 2, 4, 4, 4, 8))
    place = max(0, rng.randrange(min(len(data), rng.choice((200, 1500, len(data))))))
    return _put_number(data, rng, place, size)


def _named_size(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> str:
    """A number that stands beside a name: sizes of boxes and chunks, counts and offsets in tables."""
    name = rng.choice([name for name in NAMES if name in data] or [b"\0"])
    places = _places(data, name)
    if not places:
        return "nothing"
    place = rng.choice(places) + rng.choice(
        (-4, len(name), len(name) + 4, len(name) + 8, len(name) + rng.randrange(24))
    )
    return f"{name!r} {_put_number(data, rng, max(0, place), 4)}"


def _ebml_size(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> str:
    if not data.startswith(EBML[0]):
        return _named_size(data, rng, others)
    name = rng.choice(EBML)
    places = _places(data, name)
    if not places:
        return "nothing"
    place = rng.choice(places) + len(name)
    if place >= len(data):
        return "nothing"
    if rng.random() < 0.5:
        data[place] = rng.randrange(256)
    else:
        width = 9 - max(1, data[place].bit_length())
        value = rng.choice((0, 1, (1 << (7 * width)) - 1, (1 << (7 * width)) - 2, rng.randrange(1 << (7 * width))))
        data[place : place + width] = (value | 1 << (7 * width)).to_bytes(width, "big")
    return f"size of {name.hex()} at {place}"


def _put_number(data: bytearray, rng: random.Random, place: int, size: int) -> str:
    order = rng.choice(("big", "little"))
    room = min(size, len(data) - place)
    if room <= 0:
        return "nothing"
    before = int.from_bytes(data[place : place + room], "big" if order == "big" else "little")
    near = before + rng.choice((-1, 1, -8, 8, 16, 1000))
    value = rng.choice((rng.choice(EXTREMES), near, rng.getrandbits(8 * room))) % (1 << (8 * room))
    data[place : place + room] = value.to_bytes(room, "big" if order == "big" else "little")
    return f"{8 * room} bits at {place} from {before} to {value}, {order} end first"


def _stretch(data: bytearray, rng: random.Random) -> tuple[int, int]:
    """First byte and length of some stretch: mostly short, now and then much of the file."""
    longest = rng.choice((4, 16, 64, 188, 400, 2000, max(1, len(data) // 2)))
    length = rng.randrange(1, longest + 1)
    return rng.randrange(max(1, len(data) - length + 1)), min(length, len(data))


def _places(data: bytearray, name: bytes) -> list[int]:
    found, place = [], data.find(name)
    while place >= 0 and len(found) < 200:
        found.append(place)
        place = data.find(name, place + 1)
    return found


def _list(places: Sequence[int]) -> str:
    return ", ".join(map(str, places[:6])) + (" ..." if len(places) > 6 else "")


MUTATIONS: Final[Mapping[str, tuple[Mutation, int]]] = {
    "flip bits": (_flip_bits, 6),
    "flip bits of a header": (_flip_header_bits, 6),
    "fill": (_fill, 5),
    "noise": (_noise, 4),
    "truncate": (_truncate, 5),
    "behead": (_behead, 2),
    "splice": (_splice, 2),
    "transplant": (_transplant, 4),
    "remove": (_remove, 4),
    "repeat": (_repeat, 4),
    "swap": (_swap, 4),
    "number": (_number, 5),
    "named size": (_named_size, 5),
    "EBML size": (_ebml_size, 3),
}

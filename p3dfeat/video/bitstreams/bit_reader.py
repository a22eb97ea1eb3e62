"""A reader of numbers with any number of bits, as in the headers of codecs."""


class Bits:
    """Reads bytes bit by bit, the highest bit first. Raises EOFError after the last bit."""

    def __init__(self, data: bytes):
        self._bits, self._left = int.from_bytes(data), 8 * len(data)

    def read(self, count: int) -> int:
        """The next ``count`` bits as a number."""
        self._left -= count
        if self._left < 0:
            raise EOFError
        return self._bits >> self._left & (1 << count) - 1

    def golomb(self) -> int:
        """An Exp-Golomb number: ue(v) of H.264. A number of n bits follows n - 1 zeros."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)

    def signed_golomb(self) -> int:
        """A signed Exp-Golomb number: se(v) of H.264. Positive and negative numbers alternate."""
        number = self.golomb()
        return (number + 1) // 2 if number % 2 else -number // 2

"""Numbers of so many bits, one after the other, as the headers of codings hold them."""


class Bits:
    """Reads bytes bit by bit, the highest first. Raises EOFError behind the last one."""

    def __init__(self, data: bytes):
        self._bits, self._left = int.from_bytes(data), 8 * len(data)

    def read(self, count: int) -> int:
        """The next ``count`` bits as a number."""
        self._left -= count
        if self._left < 0:
            raise EOFError
        return self._bits >> self._left & (1 << count) - 1

    def golomb(self) -> int:
        """A number written with as many zeros before it as it has bits but one: ue(v) of H.264."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)

    def signed_golomb(self) -> int:
        """The same for positive and negative numbers in turn: se(v) of H.264."""
        number = self.golomb()
        return (number + 1) // 2 if number % 2 else -number // 2

"""Opening, decoding, seeking, sampling, resizing and cropping. Only this package imports av.

Public names are listed in __init__.pyi.
"""

from p3dfeat._lazy import lazy

__getattr__, __all__ = lazy(__name__)

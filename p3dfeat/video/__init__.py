"""Opening, decoding, seeking, sampling, resizing and cropping: the only place that imports av.

Its names stand in __init__.pyi.
"""

from p3dfeat._lazy import lazy

__getattr__, __all__ = lazy(__name__)

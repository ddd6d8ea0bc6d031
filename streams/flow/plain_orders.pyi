from streams.flow.aside import Folded
from streams.flow.chunk import Chunk
from streams.flow.fold import SourceFold

class PlainOrders:
    def __init__(self, fold: SourceFold) -> None: ...
    def fold_plain(self, chunk: Chunk, start: int, stop: int, folded: Folded) -> int: ...

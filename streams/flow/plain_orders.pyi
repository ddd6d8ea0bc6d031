from streams.flow.chunk import Chunk
from streams.flow.set_aside import Folded
from streams.flow.source_state import SourceState

class PlainOrders:
    def __init__(self, source: SourceState) -> None: ...
    def fold_plain(self, chunk: Chunk, start: int, stop: int, folded: Folded) -> int: ...

HEADER_BYTES: int

def head(data: bytes, at: int) -> tuple[int, int, int, int, int, int, int, int, int] | None: ...
def read(
    payload: bytes | memoryview,
    count: int,
    first_offset: int,
    first_timestamp_ms: int,
    append_time_ms: int | None,
    next_offset: int,
    offsets: list[int],
    keys: list[bytes | None],
    values: list[bytes | None],
    timestamps_ms: list[int],
    doubtful: bytearray | None,
) -> None: ...

def shared_limit(device: int) -> int: ...
def capability(device: int) -> int: ...
def launch(
    device: int,
    kernel: str,
    grid_x: int,
    grid_y: int,
    threads: int,
    shared_bytes: int,
    stream: int,
    arguments: tuple[object, ...],
) -> None: ...

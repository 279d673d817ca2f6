"""From a file to samples."""

from collections.abc import Iterator

import torch
from torch import Tensor

from compress.entropy.chunk import decode_chunk
from compress.entropy.places import places
from compress.entropy.tables import Tables
from compress.errors import FormatError
from compress.file_format import Parsed, parse
from compress.network.network import Network
from compress.quantise.quantise import fineness
from compress.quantise.signals import cached_parts, restored
from compress.wavelet.bands import bands
from compress.wavelet.transform import Coefficients


def decode(data: bytes, *, network: Network | None = None) -> Tensor:
    """Return the samples of a file with tables of its own; see `Codec.decode`.

    Raises:
        FormatError: when the bytes are no such file.
        ValueError: when they are no bytes, or the network is none.
    """
    return torch.cat(list(decoded(data, None, network)))


def decoded(data: bytes, tables: Tables | None, network: Network | None = None) -> Iterator[Tensor]:
    """Yield the samples of a file chunk by chunk, each (B', ...).

    Args:
        data: the file.
        tables: those it was coded with, unless it has its own.
        network: makes of what is decoded something nearer to the samples.

    Raises:
        FormatError: when the bytes are no file, or were coded with other tables, or for another
            network.
        ValueError: when they are no bytes, or the network is none.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ValueError(f"data is {type(data).__name__}; give the bytes of a code file")
    check_network(network)
    return restored_chunks(parse(bytes(data)), tables, network)


def restored_chunks(
    file: Parsed, tables: Tables | None, network: Network | None = None
) -> Iterator[Tensor]:
    """Yield the samples of a file that is taken apart; see `decoded`."""
    head = file.head
    check_fitting(file, tables, network)
    for q in whole_numbers(file, tables):
        some = (q.with_values(part) for part in cached_parts(q.values))
        x = torch.cat([restored(part, head.step, head.kind) for part in some])
        yield x if network is None else network.restore(x, head.step)


def check_fitting(file: Parsed, tables: Tables | None, network: Network | None) -> None:
    """Refuse tables or a network that are not those of a file, before anything is decoded.

    Raises:
        FormatError: with what it needs.
    """
    head = file.head
    if network is not None:
        network.check_file(head)
    if head.tables:
        return
    if tables is None:
        raise FormatError("the file has no tables of its own: decode it with the codec it is from")
    if tables.digest != head.digest:
        raise FormatError(
            f"the file was coded with tables {head.digest.hex()}, these are "
            f"{tables.digest.hex()}: decode it with the codec it is from"
        )


def check_network(network: object) -> None:
    """Refuse what is no network.

    Raises:
        ValueError: with what it is.
    """
    if network is not None and not isinstance(network, Network):
        raise ValueError(
            f"network is {type(network).__name__}; give a Network, as `load_network` reads it"
        )


def whole_numbers(file: Parsed, tables: Tables | None) -> Iterator[Coefficients]:
    """Yield what a file holds before it is scaled, chunk by chunk; see `decoded`."""
    head = file.head
    check_fitting(file, tables, None)
    if head.tables or tables is None:
        tables = Tables.unpack(head.tables)
        if tables.digest != head.digest:
            raise FormatError(
                f"the file was coded with tables {head.digest.hex()}, it holds "
                f"{tables.digest.hex()}: it is damaged"
            )
    c, t, h, w = head.volume
    around = places(bands(t, h, w, levels=head.levels, time_levels=head.time_levels), c)
    for number, samples in enumerate(head.chunks):
        q = decode_chunk(
            file.chunk(number), (samples, c, t, h, w), around, tables,
            fineness=fineness(head.step), wide=head.wide,
        )  # fmt: skip
        values = torch.from_numpy(q).float().view(samples, *head.shape)
        yield Coefficients(values, head.wavelet, head.levels, head.time_levels)

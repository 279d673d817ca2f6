"""Decoding: from the bytes of a file to samples."""

from collections.abc import Iterator

import torch
from torch import Tensor

from compress.entropy.chunk import decode_chunk
from compress.entropy.tables import Tables
from compress.errors import FormatError
from compress.file_format import CodeFile, parse
from compress.network.restoration_net import RestorationNet, check_network
from compress.quantise.signals import dequantise_and_invert, split_for_cache
from compress.wavelet.bands import bands
from compress.wavelet.transform import Coefficients


def decode(data: bytes, *, network: RestorationNet | None = None) -> Tensor:
    """Decode the samples of a file with embedded tables; see `Codec.decode`.

    Args:
        data: the file.
        network: R, which restores the decoded samples; None leaves them.

    Raises:
        FormatError: for bytes that are no such file.
        ValueError: for data that is no bytes, or a network of another type.
    """
    return torch.cat(list(decode_chunks(data, None, network)))


def decode_chunks(
    data: bytes, tables: Tables | None, network: RestorationNet | None = None
) -> Iterator[Tensor]:
    """Decode the samples of a file chunk by chunk, each (B', ...).

    Args:
        data: the file.
        tables: those of the codec; None for a file that embeds them.
        network: restores the decoded samples; None leaves them.

    Raises:
        FormatError: for bytes that are no code file, other tables, or another network.
        ValueError: for data that is no bytes, or a network of another type.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ValueError(f"data is {type(data).__name__}; give the bytes of a code file")
    if network is not None:
        check_network(network)
    return reconstruct_chunks(parse(bytes(data)), tables, network)


def reconstruct_chunks(
    file: CodeFile, tables: Tables | None, network: RestorationNet | None = None
) -> Iterator[Tensor]:
    """Decode the samples of a parsed file chunk by chunk; see `decode_chunks`."""
    head = file.head
    check_decodable(file, tables, network)
    for q in decode_quantised(file, tables):
        some = (q.with_values(part) for part in split_for_cache(q.values))
        x = torch.cat([dequantise_and_invert(part, head.step, head.kind) for part in some])
        yield x if network is None else network.restore(x, head.step)


def check_decodable(file: CodeFile, tables: Tables | None, network: RestorationNet | None) -> None:
    """Check that tables and network are those of a file.

    Raises:
        FormatError: for missing or other tables, or another network.
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


def decode_quantised(file: CodeFile, tables: Tables | None) -> Iterator[Coefficients]:
    """Decode the quantised coefficients of a file, chunk by chunk."""
    head = file.head
    check_decodable(file, tables, None)
    if head.tables or tables is None:
        tables = Tables.unpack(head.tables)
        if tables.digest != head.digest:
            raise FormatError(
                f"the file was coded with tables {head.digest.hex()}, it holds "
                f"{tables.digest.hex()}: it is damaged"
            )
    c, t, h, w = head.volume
    subbands = bands(t, h, w, levels=head.levels, time_levels=head.time_levels)
    for number, samples in enumerate(head.chunks):
        q = decode_chunk(
            file.chunk(number), (samples, c, t, h, w), subbands, tables,
            step=head.step, wide=head.wide,
        )  # fmt: skip
        values = torch.from_numpy(q).float().view(samples, *head.shape)
        yield Coefficients(values, head.wavelet, head.levels, head.time_levels)

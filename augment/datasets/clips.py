"""The frames of each clip of a video."""

import re

USUAL_FRAMES = 16


def clip_frames(count: int, *, frames: int, stride: int, clips: int) -> list[list[int]]:
    """List the frames of each clip of a video.

    One clip is the middle of the video; several are spread evenly from its first frame to its
    last and overlap where they must. A video shorter than a clip is looped: then motion goes on,
    where a repeated last frame would stop it. Clips of a looped video begin at different frames.

    Args:
        count: Frames of the video, at least 1.
        frames: Frames of a clip.
        stride: How many frames of the video further the next frame of a clip is.
        clips: How many clips.

    Returns:
        For each clip the numbers of its frames.

    >>> clip_frames(10, frames=4, stride=2, clips=2)
    [[0, 2, 4, 6], [3, 5, 7, 9]]
    >>> clip_frames(3, frames=5, stride=1, clips=1)
    [[0, 1, 2, 0, 1]]
    """
    room = count - ((frames - 1) * stride + 1)  # places beside the first that a clip can begin at
    if room < 0:
        starts = [i * count // clips for i in range(clips)]
    elif clips == 1:
        starts = [room // 2]
    else:
        starts = [i * room // (clips - 1) for i in range(clips)]
    return [[(start + t * stride) % count for t in range(frames)] for start in starts]


def clip_ids(name: str, clips: int) -> list[str]:
    """Make an id for each clip of a video: the video's own, or numbered where there are several.

    >>> clip_ids("wave/a.mp4", 2)
    ['wave/a.mp4#0', 'wave/a.mp4#1']
    """
    return [name] if clips == 1 else [f"{name}#{i}" for i in range(clips)]


def video_of(clip: str) -> str:
    """Return the id of the video that a clip is of, from the clip's id.

    >>> video_of("wave/a.mp4#1"), video_of("wave/a.mp4")
    ('wave/a.mp4', 'wave/a.mp4')
    """
    return re.sub(r"#\d+$", "", clip)

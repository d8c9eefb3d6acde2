"""Look at poses and face crops."""

from __future__ import annotations

from IPython.display import Image

from wanlab import inspection, viz


def pose_review(seen: inspection.Inspection) -> Image:
    """Return the working clip, its pose drawings and face crops as a still picture."""
    return viz.contact_sheet(inspection.poses_and_faces(seen), marks=inspection.marks(seen))

"""Step 20: look at masks, poses and face crops; a chosen mask becomes new inputs, the old ones stay as they are.

settings = config.InspectSettings(mask_chain="snap:16")
run = inspect.prepare(settings)       # inputs, chains, points, edits; nothing is worked on yet
seen = inspect.work(run)              # the variants of the mask, numbers about each, the new inputs if one was chosen
corrected = inspect.replay(seen)      # the new inputs that the decisions beside the inputs lead to
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np

from wanlab import config, files, inputs, mask, media, runs
from wanlab.files import targets
from wanlab.inputs import copies, decisions, edits, pose_videos
from wanlab.mask import metrics, regions, sam2_weights
from wanlab.mask.chain import STRETCH
from wanlab.mask.packed import bits_of
from wanlab.mask.person import PersonMasker
from wanlab.mask.prompts import read_prompts
from wanlab.pose import cleaning, corrections, detection, people
from wanlab.runs import artefacts, manifests
from wanlab.steps import preprocess

RESULT_VERSION = 2  # raise it when the same settings come to mean another result
VARIANTS = "variants.npz"
NUMBERS = "variants.json"
REPLAYED = "replayed_edits.json"  # the decisions as they were when the run was begun
OUTLINE, IN_USE, AUTO_KEYPOINT = "outline", "in use", "auto-keypoint"


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What there is to look at.

    Attributes:
        made: the inputs: the new ones where a mask was chosen, else those that were looked at.
        new: whether they are new.
        clip: the working clip; None in animate where a folder of other tools holds none.
        base: the variant that the others are compared with.
        chosen: the variant that the new inputs hold, None without.
        numbers: per variant and metric one value per frame, [T], float64; empty in animate.
        parent: the inputs that decisions are replayed on; those that were looked at, or where they hold decisions already,
            the ones without any that they were made from.
        edits: the file of decisions about the working clip, which editors write and `replay` reads; it may not be there yet.
        by_hand: what was changed by hand, a few words each.
        asked: the settings as they were given; inputs are the folder that they meant.
        opened: the inputs that were looked at; None: parent.
    """

    folder: Path
    made: inputs.AnimateInputs
    new: bool
    clip: media.Clip | None
    base: str
    chosen: str | None
    numbers: Mapping[str, Mapping[str, np.ndarray]]
    parent: inputs.AnimateInputs
    edits: Path
    by_hand: tuple[str, ...]
    asked: config.InspectSettings
    opened: inputs.AnimateInputs | None = None

    @property
    def looked_at(self) -> inputs.AnimateInputs:
        """The inputs that were looked at, which may hold decisions."""
        return self.opened or self.parent

    @property
    def names(self) -> tuple[str, ...]:
        """The variants, in the order of a contact sheet."""
        return tuple(self.numbers)

    def masks(self, name: str) -> np.ndarray:
        """Return a variant: [T, H, W], bool, True where the image is generated."""
        return self.packed(name)[:]

    def packed(self, name: str) -> mask.PackedMasks:
        """Return what `masks` does, packed."""
        return mask.PackedMasks.read(self.folder / VARIANTS, str(self.names.index(name)), self.made.width)


def prepare(settings: config.InspectSettings, made_for: str | None = None) -> runs.Run:
    """Find the inputs, check what was asked for, and find or make the run folder.

    Args:
        settings: what was asked for.
        made_for: id of the run that needs this one; None: the user asked for it.

    Raises:
        SettingsError: a chain, points, edits or a video that do not fit, or a mask setting for inputs of animate.
        FileNotFoundError: if the inputs, the video, the points or the edits are missing; the message names the option.
    """
    opened, _ = complete_inputs(settings.inputs)
    settings, origin = _cleaned(settings, decisions.origin(opened))
    read_from = origin.start if settings.points or settings.edits else opened
    _refuse_contradictions(settings, read_from)
    named = _named_files(settings, opened, read_from)
    given = {name: config.existing_file(name, path) for name, path in named.items()}
    if settings.save_path is not None:
        copies.check(settings.save_path, _kept(settings, origin))
    decided, finds_masks = edits.Edits(), settings.points is not None
    if "edits" in given:  # a run that makes this one for itself makes an earlier one again, whatever it held
        decided, carried = _decided(given["edits"], read_from, opened if made_for is None else None)
        finds_masks |= carried
    asked_chain = _asked_chain(settings, decided, origin)
    weights, passed_over = None, ()
    if read_from.mode == "replace" and (finds_masks or settings.auto_keypoint):
        weights, passed_over = sam2_weights.choose(settings.sam_checkpoint)
    resolved = settings.replaced(
        inputs=read_from.folder,
        mask_chain=_resolved_chain(settings, asked_chain, decided, read_from),
        driving_video=named.get("driving_video"),
        sam_checkpoint=weights.file if weights else "none",
    )
    _check_fit(resolved, given, read_from)
    run = runs.open_run(
        "inspect",
        resolved,
        inputs=_hashed(read_from, given, decided),
        models=people.fingerprints() | ({weights.name: weights.sha256()} if weights else {}),
        result_version=RESULT_VERSION,
        parents=(read_from.facts["run"],) if read_from.facts.get("run") else (),
        preview=read_from.preview,
        fresh=settings.fresh,
        made_for=made_for,
    )
    run.asked = settings.replaced(inputs=opened.folder)
    run.add_notes(*read_from.notes, *passed_over, *origin.notes)
    decisions.record(run, origin.trail[origin.trail.index(read_from) :], given.get("edits"))
    if asked_chain != run.manifest.get("asked_chain"):
        run.save(asked_chain=asked_chain)
    if not config.headless() and made_for is None and settings.edits is None:
        decisions.bring_back(origin)
    if "edits" in given:
        _record_edits(run, given["edits"], decided, settings.mask_chain)
    return run


def _cleaned(
    settings: config.InspectSettings, origin: decisions.Origin
) -> tuple[config.InspectSettings, decisions.Origin]:
    """Add what `pose_cleaning` finds to the decisions; return the settings, headless with these decisions, and the origin.

    Where some of it is there already, the rules have been applied before, and what was undone since stays undone.

    Raises:
        SettingsError: rules that there are not, or inputs whose pose cannot be corrected.
    """
    if settings.pose_cleaning is None or settings.edits is not None:
        return settings, origin
    try:
        pose_videos.check_editable(origin.start)
        points = origin.start.keypoints()
        assert points is not None  # checked
        found = cleaning.propose(points, settings.pose_cleaning, origin.start.facts.get("cuts", ()))
    except ValueError as error:
        raise config.SettingsError(str(error)) from error
    decided = decisions.read(origin.start, origin.file)
    known = {*decided.pose, *(each.what for each in decided.off if each.kind == "pose")}
    if found and not set(found) & known:
        more = lambda now: dataclasses.replace(now, pose=(*now.pose, *found))  # noqa: E731
        edits.change(origin.file, more, *decisions.size(origin.start))
        print(f"pose_cleaning: {'; '.join(corrections.describe(found))} (in {config.typed(origin.file)})")
    if origin.file.is_file() and config.headless():
        settings = settings.replaced(edits=origin.file)
    return settings, origin


def work(run: runs.Run) -> Inspection:
    """Make the variants, measure them and write new inputs if a mask was chosen; a completed run is only read.

    Raises:
        ValueError: if the chosen mask is empty.
    """
    settings = run.settings
    looked_at = inputs.read(config.absolute(settings.inputs))
    if not run.completed:
        with run.working() as unfinished:
            if unfinished:
                _work(run, looked_at)
    else:
        restore(run)
    new = run.path(inputs.FACTS).is_file()
    found = decisions.origin(looked_at)
    if new and settings.save_path is not None:
        copies.write(run.folder, settings.save_path, _kept(settings, found))
        print(f"inputs copied to {settings.save_path}")
    numbers = json.loads(run.path(NUMBERS).read_text(encoding="utf-8"))
    return Inspection(
        folder=run.folder,
        made=inputs.read(run.folder) if new else looked_at,
        new=new,
        clip=_clip(run, looked_at),
        base=run.manifest["artefacts"]["variants"]["base"],
        chosen=_chosen(settings) if new and looked_at.mode == "replace" else None,
        numbers={name: {metric: np.array(values) for metric, values in row.items()} for name, row in numbers.items()},
        parent=found.start,
        edits=config.absolute(settings.edits) if settings.edits else found.file,
        by_hand=tuple(run.manifest.get("by_hand", ())),
        asked=run.asked,
        opened=looked_at,
    )


def complete_inputs(place: Path | str, *, previews: bool = False) -> tuple[inputs.AnimateInputs, str | None]:
    """Return inputs as `inputs.find` does, once what is missing or damaged of a run's has been made again.

    Raises:
        FileNotFoundError: if it cannot be made again; the message names the command for new inputs.
    """
    folder = inputs.locate(place, previews=previews)
    if (folder / runs.MANIFEST).is_file():
        with contextlib.suppress(manifests.DamagedManifestError):
            run = runs.Run(folder)
            if run.completed and run.manifest["step"] == "preprocess":
                preprocess.restore(run)
            elif run.completed and run.manifest["step"] == "inspect":
                restore(run)
    return inputs.find(folder)


def restore(run: runs.Run) -> None:
    """Make files of a completed run again that are missing or damaged; what others put there stays.

    Raises:
        FileNotFoundError: if the inputs that it looked at are gone or other ones.
    """
    wrong = artefacts.damaged(run)
    left = inputs.restore_exports(run, wrong)
    if left:
        artefacts.restore(run, left, lambda: _again(run, left))
    if run.path(inputs.FACTS).is_file():
        inputs.note_restored(run, wrong)


def _again(run: runs.Run, wrong: Mapping[str, artefacts.Fault]) -> runs.Run:
    """Inspect once more with a run's settings, for it."""
    chosen = run.given()
    looked_at, _ = complete_inputs(run.settings.inputs if run.settings else config.placed(chosen["inputs"]))
    if not looked_at.has_hash(run.manifest["inputs"]["inputs"]["sha256"]):
        raise FileNotFoundError(
            f"{run.id} must be complete, but {', '.join(map(str, wrong.values()))}, and its inputs have changed; look at "
            f"them again: wanlab inspect --inputs {config.typed(looked_at.folder)}"
        )
    replayed = run.path(REPLAYED) if chosen.get("edits") else None
    asked = run.settings or config.InspectSettings.build({**chosen, "inputs": looked_at.folder, "edits": replayed})
    other = prepare(asked.replaced(edits=replayed, fresh=True, save_path=None), made_for=run.id)
    work(other)
    return other


def replay(inspection: Inspection, watch: Callable[[str, int, int], None] | None = None) -> Inspection:
    """Make new inputs from the decisions in `seen.edits`, as `wanlab inspect --edits` does; `inspection` itself without any.

    They are the newest inputs from then on, also where an earlier run made them, and what other decisions led to before is
    passed over. Where all decisions were taken back, they are those without any. Headless nothing is made beyond what the
    settings ask for: a replay is asked for by `edits`. The slow variant auto-keypoint is left out, for new inputs do not
    need it.

    Args:
        inspection: what was looked at.
        watch: called with what is done, how much of it, and of how much; what it raises ends the work. None: a line of text.

    Raises:
        SettingsError: if what was decided does not fit the inputs any more.
    """
    if inspection.asked.edits is not None and config.headless():
        runs.Run(inspection.folder).bring_forward()
        return inspection
    opened = inputs.read(config.absolute(inspection.asked.inputs))
    where = decisions.shown(inspection.edits)
    if not _is_to_be_applied(inspection.edits, opened):
        print("nothing was changed by hand")
        return inspection
    if inspection.asked.points is not None:
        print(f"{where} does not count, for points were given")
        return inspection
    if config.headless():
        print(decisions.unapplied(opened) or f"the decisions in {where} are applied")
        return inspection
    slow = inspection.asked.auto_keypoint and inspection.asked.base == AUTO_KEYPOINT
    run = prepare(inspection.asked.replaced(edits=inspection.edits, auto_keypoint=slow))
    run.progress.watch = watch
    made = work(run)
    runs.Run(run.folder).bring_forward()
    return made


def measure(masks: mask.Masks, base: mask.Masks) -> dict[str, np.ndarray]:
    """Return the numbers about a mask by name, [T], float64 each.

    Args:
        masks, base: IoU and boundary F compare with the base.
    """
    rows = [_measured(masks, base, first, first + STRETCH - 1) for first in range(0, len(masks), STRETCH)]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def poses_and_faces(inspection: Inspection) -> dict[str, media.Clip | None]:
    """Return the clips that show whether pose and face are right, by name."""
    clips = inspection.made.clips()
    return {"driving": inspection.clip, "pose": clips.get("pose"), "face": clips.get("face")}


def videos_before_and_after(inspection: Inspection) -> tuple[dict[str, media.Clip], dict[str, media.Clip]]:
    """Return pose and face video of the inputs that were looked at and of the new ones, by short name."""
    before, after = (
        {name.removesuffix("_video"): made.video(name) for name in pose_videos.VIDEOS}
        for made in (inspection.parent, inspection.made)
    )
    return before, after


def before_and_after(inspection: Inspection) -> tuple[mask.Masks | None, mask.Masks | None]:
    """Return the current masks of the inspected inputs and of the new ones; None without."""
    if not inspection.new or inspection.made.mode == "animate":
        return None, None
    return inspection.parent.packed_mask(), inspection.made.packed_mask()


def decided(inspection: Inspection) -> edits.Edits:
    """Return the decisions that the inputs were made with, as they were then; none where nothing was changed by hand."""
    path = inspection.folder / REPLAYED
    if inspection.new and path.is_file():
        return decisions.read(inspection.parent, path)
    return decisions.origin(inspection.looked_at).applied or edits.Edits()


def reopen(run: runs.Run) -> Inspection:
    """Return what there is to look at in a completed run of another session, for a report.

    Raises:
        FileNotFoundError: if the inputs that it looked at are gone.
    """
    looked_at = inputs.of_run(run)
    chosen = {**run.given(), "inputs": looked_at.folder, "save_path": None}
    return work(runs.Run(run.folder, config.InspectSettings.build(chosen)))


def marks(inspection: Inspection) -> dict[int, str]:
    """Return the frames to look at in any case, and why: no person or no usable face was found there."""
    facts = inspection.made.facts
    return {t: "no face" for t in facts.get("no_face", ())} | {t: "no person" for t in facts.get("no_person", ())}


def _refuse_contradictions(settings: config.InspectSettings, read_from: inputs.AnimateInputs) -> None:
    if settings.points and settings.edits:
        raise config.SettingsError(
            "points must be left out with edits, which hold points themselves; import them in the editor of 20_inspect"
        )
    if read_from.mode == "animate" and (settings.points or settings.mask_chain is not None):
        raise config.SettingsError(
            "points and mask_chain must be left out for inputs of animate, which have no mask; preprocess with mode replace"
        )


def _named_files(
    settings: config.InspectSettings, opened: inputs.AnimateInputs, read_from: inputs.AnimateInputs
) -> dict[str, Path]:
    """Return the files beside the inputs that are read, by name; the driving video where the inputs hold none.

    Raises:
        FileNotFoundError: if inputs of replace hold no driving video and none is named.
    """
    named = {"points": settings.points, "edits": settings.edits}
    if read_from.driving() is None:
        own = opened.folder / inputs.DRIVING
        named["driving_video"] = own if settings.driving_video is None and own.is_file() else settings.driving_video
        if read_from.mode == "replace" and named["driving_video"] is None:
            raise FileNotFoundError(
                f"{inputs.DRIVING} is missing in {config.typed(read_from.folder)}, as in folders of other tools; name the "
                "video that the inputs were made from: --driving_video video.mp4"
            )
    return {name: path for name, path in named.items() if path is not None}


def _resolved_chain(
    settings: config.InspectSettings,
    asked_chain: str | None,
    decided: edits.Edits,
    read_from: inputs.AnimateInputs,
) -> str | None:
    """Return the chain of the new inputs' mask, None where the mask stays."""
    chain = decided.mask_chain if asked_chain is None else asked_chain
    if chain is None and (settings.points or decided.of_the_mask):
        return read_from.facts.get("mask_chain") or mask.DEFAULT_CHAIN
    return chain


def _check_fit(resolved: config.InspectSettings, given: Mapping[str, Path], read_from: inputs.AnimateInputs) -> None:
    """Refuse chains, a base and files that do not fit the inputs.

    Raises:
        SettingsError: naming the first that does not.
    """
    try:
        for text in (*resolved.compare, resolved.mask_chain or ""):
            mask.parse_chain(text)
        if "driving_video" in given:
            _open_video(given["driving_video"], read_from)
        if "points" in given:
            read_prompts(given["points"], read_from.num_frames, read_from.height, read_from.width)
        known = (OUTLINE, IN_USE, AUTO_KEYPOINT, *resolved.compare, resolved.mask_chain)
        if resolved.base is not None and resolved.base not in known:
            raise ValueError(config.unknown_choice("base", resolved.base, [name for name in known if name]))
    except ValueError as error:
        raise config.SettingsError(str(error)) from error


def _hashed(
    read_from: inputs.AnimateInputs, given: Mapping[str, Path], decided: edits.Edits
) -> dict[str, dict[str, str]]:
    """Return the inputs and the named files as a manifest holds them; of edits the decisions count, not the file's bytes."""
    hashes = {name: decided.digest() if name == "edits" else files.sha256(path) for name, path in given.items()}
    return {
        "inputs": {"folder": config.shown(read_from.folder), "sha256": read_from.sha256()},
        **{name: {"file": config.shown(path), "sha256": hashes[name]} for name, path in given.items()},
    }


def _record_edits(run: runs.Run, file: Path, decided: edits.Edits, mask_chain: str | None) -> None:
    """Keep the decisions that a run replays as they are now, and note what of them does not count.

    Args:
        run: that replays them.
        file: the decisions.
        decided: what it holds.
        mask_chain: the setting.
    """
    files.copy(file, run.path(REPLAYED))
    run.save(by_hand=list(decided.describe()))
    run.add_notes(f"changed by hand: {'; '.join(decided.describe()) or 'nothing any more'}")
    unused = regions.unused(decided)
    if unused:
        run.add_notes(f"{unused} of the points and boxes lie outside the stretch or on a locked frame and do not count")
    if mask_chain is not None and decided.mask_chain not in (None, mask_chain):
        run.add_notes(f"mask_chain is {mask_chain}: that of the edits, {decided.mask_chain}, does not count")


def _work(run: runs.Run, animate_inputs: inputs.AnimateInputs) -> None:
    settings: config.InspectSettings = run.settings
    if settings.driving_video is not None:
        _read_video(run, config.absolute(settings.driving_video), animate_inputs)
    variants: dict[str, mask.PackedMasks] = {}
    clip = _clip(run, animate_inputs)
    if animate_inputs.mode == "replace" and clip is not None:
        with run.stage("masks"):
            variants = _variants(run, animate_inputs, clip)
    _measure(run, animate_inputs, variants)
    if _chosen(settings) is not None and clip is not None:
        with run.stage("inputs"):
            anew = settings.mask_chain is not None  # resolved: everything that changes the mask sets a chain
            masks = (variants[OUTLINE], variants[settings.mask_chain or OUTLINE]) if anew else None
            _write_inputs(run, animate_inputs, clip, masks)


def _read_video(run: runs.Run, path: Path, animate_inputs: inputs.AnimateInputs) -> None:
    """Write the working clip of inputs that hold none."""
    with run.stage("read"):
        clip = _open_video(path, animate_inputs)
        run.add_notes(*clip.notes)
        frames = run.progress.iterate(_at_inputs_size(clip, animate_inputs), "read", len(clip))
        inputs.write_video(run, "driving_video", inputs.DRIVING, frames, animate_inputs.fps, lossless=True)


def _measure(run: runs.Run, animate_inputs: inputs.AnimateInputs, variants: Mapping[str, mask.PackedMasks]) -> None:
    """Write the variants by name, and their numbers."""
    with run.stage("measure"):
        base = run.settings.base or OUTLINE
        if base == IN_USE and IN_USE not in variants:
            base = str(animate_inputs.facts["mask_chain"])
        numbers = {}
        for i, (name, masks) in enumerate(variants.items()):
            run.progress.update("measure", i, len(variants))
            numbers[name] = measure(masks, variants[base])
        packed = {str(i): bits_of(masks) for i, masks in enumerate(variants.values())}
        files.write_arrays(run.path(VARIANTS), **packed)
        files.write_json(
            run.path(NUMBERS), {n: {m: v.round(5).tolist() for m, v in r.items()} for n, r in numbers.items()}
        )
        run.add_artefact("variants", VARIANTS, names=list(variants), base=base)
        run.add_artefact("numbers", NUMBERS)
        run.save(metrics={n: {m: round(float(v.mean()), 5) for m, v in row.items()} for n, row in numbers.items()})


def _measured(masks: mask.Masks, base: mask.Masks, first: int, last: int) -> dict[str, np.ndarray]:
    """Return what `measure` does of the frames `first` to `last`, inclusive."""
    before = max(first - 1, 0)  # the change is one from the frame before
    shown, compared = masks[before : last + 1], base[before : last + 1]
    row = {
        "area": metrics.area(shown),
        "IoU": metrics.iou(shown, compared),
        "boundary F": metrics.boundary_f(shown, compared),
        "change": metrics.change(shown),
        "leak": metrics.leak_share(shown),
    }
    return {name: values[first - before :] for name, values in row.items()}


def _variants(run: runs.Run, animate_inputs: inputs.AnimateInputs, clip: media.Clip) -> dict[str, mask.PackedMasks]:
    """Return the masks to compare by name: outline, the current one, one per chain, auto-keypoint."""
    settings: config.InspectSettings = run.settings
    in_use, outline = animate_inputs.packed_mask(), outline_of(animate_inputs)
    if animate_inputs.files["mask_video"].suffix == ".mp4":
        run.add_notes(
            "the person's outline is taken from src_mask.mp4: these inputs hold no mask from before the chain"
        )
    found = animate_inputs.keypoints()
    decided = _replayed(run, animate_inputs)
    clicked = settings.points is not None or bool(regions.marks(decided))
    if found is None and (clicked or settings.auto_keypoint):
        watch = functools.partial(run.progress.iterate, total=len(clip))
        found = detection.detect(clip, float(clip.fps), watch=watch).keypoints
    weights, _ = sam2_weights.choose(settings.sam_checkpoint)
    masker = PersonMasker(weights, settings.compile_sam, run, keep_probabilities=True)
    if settings.points and found is not None:
        outline = masker.mask(settings.points, clip, found)
    outline = _corrected(run, decided, masker, clip, found, outline)
    variants = {OUTLINE: outline, IN_USE: in_use}
    chains = list(filter(None, dict.fromkeys((*settings.compare, settings.mask_chain))))
    for i, chain in enumerate(chains):
        run.progress.update("mask chains", i, len(chains))
        variants[chain] = mask.apply_chain_packed(outline, chain)
    chain = animate_inputs.facts.get("mask_chain")
    if chain in variants and variants[chain].frames == in_use.frames and _chosen(settings) != IN_USE:
        del variants[IN_USE]  # it is one of the others
    if settings.auto_keypoint and found is not None:
        upstream = masker.mask("keypoints", clip, found, f"the variant {AUTO_KEYPOINT}")
        variants[AUTO_KEYPOINT] = mask.apply_chain_packed(upstream, chain or mask.DEFAULT_CHAIN)
    return variants


def _corrected(
    run: runs.Run,
    decided: edits.Edits,
    masker: PersonMasker,
    clip: media.Clip,
    found: np.ndarray | None,
    outline: mask.PackedMasks,
) -> mask.PackedMasks:
    """Return the outline with what was clicked, painted and locked."""
    keypoints = np.zeros((len(clip), 133, 3), np.float32) if found is None else found  # None: nothing was clicked
    corrected = masker.clicked(clip, media.Seeker(clip), lambda: keypoints, outline)
    marked = regions.marks(decided)
    if marked:
        by = masker.weights.describe() if masker.weights else "what looks and moves alike, not by SAM2"
        run.add_notes(f"{len(marked)} marks are followed from their frames by {by}")
    for mark in marked:
        corrected.find(mark)
    for _ in run.progress.iterate(corrected.follow(decided), "follow the marks", corrected.steps(decided)):
        pass
    return mask.PackedMasks(clip.height, clip.width, (corrected.outline(decided, t) for t in range(len(clip))))


def _write_inputs(
    run: runs.Run,
    animate_inputs: inputs.AnimateInputs,
    clip: media.Clip,
    masks: tuple[mask.PackedMasks, mask.PackedMasks] | None,
) -> None:
    """Write the inputs again with outline and mask and with corrections; all else is copied in its current form."""
    replayed = _replayed(run, animate_inputs)
    by_hand = replayed.pose
    anew = (inputs.REPLACE_ONLY if masks else ()) + (pose_videos.VIDEOS if by_hand else ())
    for name, file in animate_inputs.files.items():
        if name not in anew:
            export = inputs.EXPORTS[name][0] if name in inputs.EXPORTS else file.name
            for path in {file, animate_inputs.folder / export}:
                files.copy(path, run.path(path.name))
    for name in (inputs.DRIVING, *inputs.EDITED, *(() if by_hand else (inputs.KEYPOINTS,))):
        if (animate_inputs.folder / name).is_file():
            files.copy(animate_inputs.folder / name, run.path(name))
    kept = {
        name: animate_inputs.facts[name]
        for name in ("no_person", "no_face", "cuts", "own", "preview")
        if name in animate_inputs.facts
    }
    if by_hand:
        kept |= pose_videos.rewrite(run, animate_inputs, by_hand)
    if masks:
        outline, chosen = masks
        run.add_notes(*mask.check("the mask", chosen, animate_inputs.keypoints()))
        inputs.write_masks(run, outline, chosen, animate_inputs.fps)
        inputs.write_pair(run, "background_video", _blanked(run, clip, chosen), animate_inputs.fps)
    inputs.write_facts(
        run.folder,
        mode=animate_inputs.mode,
        clip_height=clip.height,
        clip_width=clip.width,
        run=run.id,
        parent=animate_inputs.facts.get("run"),
        mask_chain=animate_inputs.facts.get("mask_chain")
        if run.settings.mask_chain is None
        else run.settings.mask_chain,
        by_hand=[*animate_inputs.facts.get("by_hand", ()), *run.manifest.get("by_hand", ())],
        **decisions.facts(animate_inputs, replayed if run.settings.edits else None, run.manifest.get("asked_chain")),
        **kept,
    )
    inputs.record(run)
    run.add_artefact("inputs", inputs.FACTS)


def outline_of(animate_inputs: inputs.AnimateInputs) -> mask.PackedMasks:
    """Return the person's mask from before the chain, the current one if there is no other."""
    outline = animate_inputs.packed_person_mask()
    if outline is None or animate_inputs.files["mask_video"].suffix == ".mp4":
        return animate_inputs.packed_mask()
    return outline


def _chosen(settings: config.InspectSettings) -> str | None:
    """Return the variant that new inputs hold, None where none are written."""
    if settings.mask_chain is not None:
        return settings.mask_chain or OUTLINE
    return IN_USE if settings.edits is not None else None


def _is_to_be_applied(path: Path, opened: inputs.AnimateInputs) -> bool:
    """Return whether a file holds decisions, or inputs were made of those that it held once."""
    if not path.is_file():
        return False
    if not decisions.read(opened, path).empty:
        return True
    return decisions.origin(opened).applied is not None or decisions.last_applied(path) is not None


def _asked_chain(settings: config.InspectSettings, decided: edits.Edits, found: decisions.Origin) -> str | None:
    """Return the chain of the settings, else the one that the inputs were made with, unless another was decided since."""
    held = found.applied.mask_chain if found.applied else None
    inherits = settings.mask_chain is None and settings.edits is not None and decided.mask_chain == held
    return found.asked_chain if inherits else settings.mask_chain


def _decided(
    path: Path, animate_inputs: inputs.AnimateInputs, opened: inputs.AnimateInputs | None
) -> tuple[edits.Edits, bool]:
    """Return decisions that can be replayed, and whether masks are found again for them: clicks, or strokes that are carried.

    Raises:
        SettingsError: decisions that do not fit the inputs, or none.
    """
    try:
        decided = decisions.read(animate_inputs, path)
        if decided.empty and opened is not None and not _is_to_be_applied(path, opened):
            raise ValueError(f"edits must hold a decision, got none in {path.name}; make one in 20_inspect")
        if animate_inputs.mode == "animate" and decided.of_the_mask:
            raise ValueError(
                f"edits must change the pose only for inputs of animate, which have no mask, got {decided.describe()[0]}"
            )
        if decided.pose:
            pose_videos.rewritten(animate_inputs, decided.pose)
    except ValueError as error:
        raise config.SettingsError(str(error)) from error
    return decided, bool(regions.marks(decided))


def _replayed(run: runs.Run, animate_inputs: inputs.AnimateInputs) -> edits.Edits:
    """Return the decisions that a run replays, none where it replays none."""
    return decisions.read(animate_inputs, run.path(REPLAYED)) if run.settings.edits else edits.Edits()


def _blanked(run: runs.Run, clip: media.Clip, chosen: mask.Masks) -> Iterator[np.ndarray]:
    """Yield the background video's frames, [H, W, 3], uint8 RGB."""
    for t, (frame, hidden) in enumerate(zip(clip, chosen, strict=True)):
        run.progress.update("background", t, len(clip))
        yield mask.blank_out(frame, hidden)


def _kept(settings: config.InspectSettings, found: decisions.Origin) -> targets.Kept:
    """Return what `save_path` may not be: what the settings name, the inputs that were opened and those they come from."""
    trail = {f"the inputs {config.shown(each.folder)}": each.folder for each in found.trail}
    return targets.kept(settings, beside=targets.Kept(trail))


def _clip(run: runs.Run, animate_inputs: inputs.AnimateInputs) -> media.Clip | None:
    """Return the working clip: the inputs' own, or the one that this run made of the video."""
    own = run.path(inputs.DRIVING)
    return animate_inputs.driving() or (media.open_clip(own) if own.is_file() else None)


def _open_video(path: Path, animate_inputs: inputs.AnimateInputs) -> media.Clip:
    """Open the video that a folder of other tools was made from, at the folder's rate.

    Raises:
        ValueError: another length or shape than the folder's pose video.
    """
    clip = media.open_clip(path, fps=animate_inputs.fps)
    if len(clip) != animate_inputs.num_frames:
        raise ValueError(
            f"driving_video must have {animate_inputs.num_frames} frames at {media.describe_rate(animate_inputs.fps)} per second, as the inputs have, got "
            f"{len(clip)}; use the video that they were made from"
        )
    if (
        animate_inputs.mode == "replace"
        and abs(clip.width / clip.height * animate_inputs.height / animate_inputs.width - 1) > 0.05
    ):
        raise ValueError(
            f"driving_video must have the shape of the inputs ({animate_inputs.height}x{animate_inputs.width}), got {clip.height}x{clip.width}; "
            "use the video that they were made from"
        )
    return clip


def _at_inputs_size(clip: media.Clip, animate_inputs: inputs.AnimateInputs) -> Iterator[np.ndarray]:
    """Yield the video's frames at the inputs' size in replace, as they are in animate."""
    for frame in clip:
        replacing = animate_inputs.mode == "replace" and frame.shape[:2] != (
            animate_inputs.height,
            animate_inputs.width,
        )
        yield (
            cv2.resize(frame, (animate_inputs.width, animate_inputs.height), interpolation=cv2.INTER_AREA)
            if replacing
            else frame
        )

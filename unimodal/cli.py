"""The command line: one console script with verbs; each verb but `doctor` is a Hydra application."""

import os
import sys
from pathlib import Path

USAGE = """usage: unimodal VERB [KEY=VALUE ...]

  train      train a model          unimodal train modality=image|text|audio|video
  evaluate   figures of a run       unimodal evaluate checkpoint=RUN
  predict    answers for files      unimodal predict checkpoint=RUN inputs=FILE_OR_FOLDER_OR_TABLE
  export     a Hugging Face folder  unimodal export checkpoint=RUN output=DIR
  check-data look at a data set     unimodal check-data modality=image data=folder data.path=DIR
  doctor     versions, devices, decoders, and combinations known to be bad

  unimodal VERB --help    the options of a verb
  unimodal --version
"""

HYDRA_VERBS = ("train", "evaluate", "predict", "export", "check-data")
CHILD_CONFIG = "UNIMODAL_RESOLVED_CONFIG"  # set for the processes that Lightning starts
LAUNCHER_VARIABLES = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def main(argv: list[str] | None = None) -> None:
    """Run one verb; exits with 1 for an error of the user's, 2 for no verb that we know."""
    arguments = sys.argv[1:] if argv is None else argv
    verb = arguments[0] if arguments else "--help"
    if verb in ("-h", "--help", "help"):
        sys.stdout.write(USAGE)
    elif verb == "--version":
        from unimodal import __version__

        sys.stdout.write(f"unimodal {__version__}\n")
    elif verb == "doctor":
        from unimodal.doctor import doctor

        sys.exit(doctor())
    elif verb in HYDRA_VERBS:
        _run_application(verb, arguments[1:])
    else:
        from unimodal.suggestions import nearest

        hint = nearest(verb, [*HYDRA_VERBS, "doctor"])
        sys.stderr.write(f"unimodal: no verb {verb!r}{hint}\n\n{USAGE}")
        sys.exit(2)


def _run_application(verb: str, arguments: list[str]) -> None:
    from unimodal import compatibility

    compatibility.prepare()
    child = os.environ.get(CHILD_CONFIG)
    if child and os.environ.get("LOCAL_RANK", "0") != "0":
        return _run_child(verb, Path(child))
    from unimodal.application import run

    sys.exit(run(verb, arguments))


def _run_child(verb: str, resolved: Path) -> None:
    """A process that Lightning started: the same resolved config, no Hydra (it would run the sweep again)."""
    import json

    from unimodal.application import VERBS

    job = json.loads(resolved.read_text(encoding="utf-8"))
    sys.path[:0] = job["config_dirs"]
    VERBS[verb](job["config"], Path(job["output"]), [Path(d) for d in job["config_dirs"]])


if __name__ == "__main__":
    main()

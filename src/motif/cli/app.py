"""The root command and its verbs."""

from __future__ import annotations

import click

from motif import __version__
from motif.cli.attend import attend
from motif.cli.bench import bench
from motif.cli.command import Group
from motif.cli.demo import demo
from motif.cli.edit import edit
from motif.cli.encode import encode
from motif.cli.invert import invert
from motif.cli.learn import learn
from motif.cli.look import check, doctor, methods, show
from motif.cli.measure import measure
from motif.cli.merge import compress, merge
from motif.cli.pocket import pocket
from motif.cli.sample import sample
from motif.cli.study import study
from motif.cli.tradeoff import tradeoff
from motif.cli.travel import export, import_


@click.group(
    cls=Group, name="motif", epilog="Each command explains itself: motif learn custom-diffusion --help"
)
@click.version_option(__version__, prog_name="motif")
def app() -> None:
    """Teach a text-to-image model a concept from a few photos, and draw it.

    \b
    motif demo
    motif learn custom-diffusion photos/cat "photo of a <new1> cat" -o cat.safetensors
    motif sample plain "a <new1> cat on the beach" --wear cat.safetensors -n 4 -o pictures
    """


for _command in (
    demo,
    check,
    learn,
    encode,
    merge,
    compress,
    sample,
    invert,
    edit,
    attend,
    measure,
    tradeoff,
    study,
    bench,
    export,
    import_,
    show,
    methods,
    doctor,
    pocket,
):
    app.add_command(_command)

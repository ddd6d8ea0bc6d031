"""``ecindex topics``: Kafka topics and their configs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from streams.cli.common import WRONG, echo_json, reported, run, settings_of
from streams.cli.options import INPUTS_MAX, AsJson, Bootstrap, ConfigFile

if TYPE_CHECKING:
    from streams.records.kafka_topics import TopicDifference, TopicsReport
    from streams.settings import Settings

Inputs = Annotated[
    int | None,
    typer.Option(
        "--inputs",
        min=1,
        max=INPUTS_MAX,
        metavar="N",
        help="Also the inputs, with N partitions each.",
    ),
]
Arrival = Annotated[
    Literal["broker", "producer"] | None,
    typer.Option(
        "--arrival",
        help="Whose clock stamps the inputs; `producer` to import old data.",
    ),
]

topics_app = typer.Typer(no_args_is_help=True, help="Kafka topics and their configs.")


@topics_app.command("create")
def topics_create(
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    inputs: Inputs = None,
    arrival: Arrival = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Create missing topics; change nothing that exists."""
    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        report = run(_create_topics(settings, inputs, arrival))
    if as_json:
        echo_json(report)
    else:
        typer.echo("".join(f"created {name}\n" for name in report.created), nl=False)
        _show_differences(report.differences)
    raise typer.Exit(WRONG if report.differences else 0)


@topics_app.command("check")
def topics_check(
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    inputs: Inputs = None,
    arrival: Arrival = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List topics that differ from what is expected, each with the command that fixes it."""
    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        differences = run(_check_topics(settings, inputs, arrival))
    if as_json:
        echo_json({"differences": differences})
    else:
        _show_differences(differences)
    raise typer.Exit(WRONG if differences else 0)


@topics_app.command("alter")
def topics_alter(
    topic: Annotated[str, typer.Argument(metavar="TOPIC")],
    setting: Annotated[str, typer.Argument(metavar="NAME=VALUE")],
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
) -> None:
    """Set one configuration of a topic, as `topics check` and `doctor` advise."""
    from streams.records.altering_topics import alter_topic

    name, equals, value = setting.partition("=")
    if not (name and equals and value):
        raise typer.BadParameter("expected NAME=VALUE, such as retention.ms=5184000000")
    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        run(alter_topic(settings.kafka, topic, name, value))
    typer.echo(f"{topic}: {setting}")


@topics_app.command("migrate")
def topics_migrate(
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    inputs: Inputs = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Give topics the partitions they lack: changelogs as many as the inputs have got."""
    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        grown = run(_migrate_topics(settings, inputs))
    if as_json:
        echo_json({"grown": grown})
    else:
        typer.echo(
            "".join(f"{name} has {n} partitions now\n" for name, n in grown.items()), nl=False
        )
        if not grown:
            typer.echo("no topic lacks partitions")


@topics_app.command("accept")
def topics_accept(
    topic: Annotated[str, typer.Argument(metavar="TOPIC")],
    change: Annotated[
        str, typer.Argument(metavar="CHANGE", help="As the halt names it: id=.., 0:10..14, ..")
    ],
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Kept beside what was accepted.")
    ] = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Accept a change of an input's log; the partitions that it halted go on within seconds."""
    from streams.operate.accepting import accept

    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        accepted = run(accept(settings, topic, change, reason))
    if as_json:
        echo_json(accepted)
    else:
        typer.echo(f"{topic}: {change} is accepted; what it halted goes on")


async def _migrate_topics(settings: Settings, inputs: int | None) -> dict[str, int]:
    from streams.records import kafka_topics

    wanted = await kafka_topics.plan_topics(settings, inputs=inputs)
    return await kafka_topics.migrate_topics(settings.kafka, wanted)


async def _create_topics(settings: Settings, inputs: int | None, arrival: Arrival) -> TopicsReport:
    from streams.records import kafka_topics

    wanted = await kafka_topics.plan_topics(settings, inputs=inputs, arrival=arrival)
    replicas = settings.topics.replication_factor
    return await kafka_topics.create_topics(settings.kafka, wanted, replication_factor=replicas)


async def _check_topics(
    settings: Settings, inputs: int | None, arrival: Arrival
) -> list[TopicDifference]:
    from streams.records import kafka_topics

    wanted = await kafka_topics.plan_topics(settings, inputs=inputs, arrival=arrival)
    return await kafka_topics.check_topics(settings.kafka, wanted)


def _show_differences(differences: Sequence[TopicDifference]) -> None:
    for difference in differences:
        typer.echo(str(difference))
    if not differences:
        typer.echo("all topics are as expected")

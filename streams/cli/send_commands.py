"""Commands that send: simulate and import events, seed history, expect a factor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from streams.cli.common import WRONG, echo_json, reported, run, settings_of
from streams.cli.options import AsJson, Bootstrap, ConfigFile, parts_of, seconds_of


def simulate(
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    rate: Annotated[
        float, typer.Option("--rate", help="Orders and payments a second, as a week's mean.")
    ] = 50.0,
    duration: Annotated[
        str | None,
        typer.Option("--for", metavar="DURATION", help="90s, 5m or 1h; default: until Ctrl-C."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    backfill: Annotated[
        str | None,
        typer.Option(
            "--backfill",
            metavar="DURATION",
            help="First send this much history. With --seed-history: only before workers read.",
        ),
    ] = None,
    seed_history: Annotated[
        int,
        typer.Option(
            "--seed-history",
            min=0,
            max=52,
            metavar="WEEKS",
            help="First seed this many weeks of hourly counts of these shops.",
        ),
    ] = 0,
    markets: Annotated[
        str | None, typer.Option("--markets", metavar="PK,BD,..", help="Default: all.")
    ] = None,
    season: Annotated[
        Literal["flat", "week", "year"],
        typer.Option("--season", help="Demand: constant; by the hour; also by the month."),
    ] = "week",
    shift: Annotated[
        list[str] | None,
        typer.Option(
            "--shift",
            metavar="MARKET:CATEGORY:FACTOR:AFTER_S[:DURATION_S]",
            help="Plant a change of demand; category `all`: the whole market.",
        ),
    ] = None,
    outage: Annotated[
        list[str] | None,
        typer.Option(
            "--outage", metavar="MARKET:AFTER_S:DURATION_S", help="Plant a time without events."
        ),
    ] = None,
    duplicates: Annotated[
        float, typer.Option("--duplicates", help="Share of events to send twice.")
    ] = 0.0,
    out_of_order: Annotated[
        float, typer.Option("--out-of-order", help="Share of events to send late.")
    ] = 0.0,
    out_of_order_max: Annotated[
        float, typer.Option("--out-of-order-max", metavar="SECONDS", help="How late at most.")
    ] = 10.0,
    lag_scale: Annotated[
        float,
        typer.Option("--lag-scale", help="Scale the delays of cancels, deliveries, refunds."),
    ] = 1.0,
    profile: Annotated[
        Path | None, typer.Option("--profile", metavar="FILE", help="Use this, not simulator.toml.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Send the events of simulated shops in PK, BD, LK, NP and MM until stopped.

    The workers need a methodology with these markets, as config/examples/demo has it.
    """
    from streams.shops.simulate_options import Planted, ShopOptions
    from streams.shops.simulate_profile import load_profile
    from streams.shops.simulate_run import simulate_command

    for_s, backfill_s = seconds_of("--for", duration), seconds_of("--backfill", backfill) or 0.0
    with reported():
        summary = run(
            simulate_command(
                settings_of(config, kafka__bootstrap_servers=bootstrap),
                load_profile(profile),
                ShopOptions(
                    seed=seed,
                    rate_per_s=rate,
                    markets=parts_of(markets),
                    season=season,
                    duplicates=duplicates,
                    out_of_order=out_of_order,
                    out_of_order_max_s=out_of_order_max,
                    lag_scale=lag_scale,
                ),
                Planted(tuple(shift or ()), tuple(outage or ())),
                backfill_s=backfill_s,
                for_s=for_s,
                seed_weeks=seed_history,
            )
        )
    if as_json:
        echo_json(summary)
    else:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary.by_type.items())
        typer.echo(f"sent {summary.events:,} events in {summary.seconds:.1f} s: {kinds}")


def import_source(
    source: Annotated[
        Literal["olist", "online-retail", "csv"],
        typer.Argument(help="The data set; csv: columns named as in the contract."),
    ],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the files.")],
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    pause_after: Annotated[
        float,
        typer.Option(
            "--pause-after", metavar="FRACTION", help="Share of events sent before a pause."
        ),
    ] = 0.5,
    pause_s: Annotated[
        float, typer.Option("--pause-s", min=0, metavar="SECONDS", help="How long to pause.")
    ] = 0.0,
    *,
    as_json: AsJson = False,
) -> None:
    """Send the events of a data set with their own times, in event-time order."""
    from streams.operate.importer import import_command

    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        summary = run(
            import_command(settings, source, directory, pause_after=pause_after, pause_s=pause_s)
        )
    if as_json:
        echo_json(summary)
    else:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary.by_type.items())
        typer.echo(f"sent {summary.events:,} events in {summary.seconds:.1f} s: {kinds}")
        typer.echo(f"occurred {summary.first_occurred_at} .. {summary.last_occurred_at}")
        for title, counts in (("left out", summary.skipped), ("filled in", summary.filled)):
            typer.echo("".join(f"{title}: {n:,} {why}\n" for why, n in counts.items()), nl=False)
    raise typer.Exit(0 if summary.complete else WRONG)


def seed_history(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help=".csv, .csv.gz or .parquet: market, hour, [dimension, member,] and counts.",
        ),
    ],
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Teach the expectation from hourly counts of a warehouse: six weeks or more."""
    from streams.index.instants import in_zone
    from streams.operate.seeding import seed
    from streams.settings import load_methodology

    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        seeded = run(seed(settings, file))
    if as_json:
        echo_json(seeded)
        return
    markets = load_methodology(settings).markets
    for each in seeded:
        zone = markets[each.market].time_zone
        hours = f"{in_zone(each.start, zone)} .. {in_zone(each.end, zone)}"
        typer.echo(f"{each.market}: {each.hours} hours, {hours}")
        typer.echo(f"  gives {', '.join(each.given)}")
        if each.unknown:
            typer.echo(f"  counted as `other`: {', '.join(each.unknown)}")


def expect_factor(
    market: Annotated[str, typer.Argument(metavar="MARKET")],
    member: Annotated[
        str, typer.Argument(metavar="MEMBER", help="all, category:books, region:punjab, ..")
    ],
    start: Annotated[
        str, typer.Argument(metavar="FROM", help="Local date, or a whole hour in RFC 3339.")
    ],
    end: Annotated[str, typer.Argument(metavar="TO", help="Local date or hour, exclusive.")],
    factor: Annotated[
        str,
        typer.Argument(
            metavar="FACTOR",
            help="Times the usual; `unknown`: learn nothing; `none`: take it back.",
        ),
    ],
    bootstrap: Bootstrap = None,
    config: ConfigFile = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Declare an event that multiplies demand: it applies at once and is not learnt as normal."""
    from streams.index.instants import in_zone
    from streams.operate.seeding import expect
    from streams.settings import load_methodology

    with reported():
        settings = settings_of(config, kafka__bootstrap_servers=bootstrap)
        made = run(expect(settings, market, member, start, end, factor))
    if as_json:
        echo_json(made)
    else:
        effect = factor if made.factor is None else f"{made.factor:g} times the usual"
        zone = load_methodology(settings).markets[made.market].time_zone
        hours = f"{in_zone(made.start, zone)} .. {in_zone(made.end, zone)}"
        typer.echo(f"{made.market} {made.dimension} {made.member}, {hours}: {effect}")

"""``bench chaos`` runs the faults of the checkout it belongs to."""

from pathlib import Path

from streams.bench import chaos_bench


def test_it_finds_the_faults_of_this_checkout():
    # A move of the module once left it a folder too high: it then asked everybody for a checkout.
    assert Path(__file__).parents[2] == chaos_bench.TESTS
    assert (chaos_bench.TESTS / "faults" / "__main__.py").is_file()

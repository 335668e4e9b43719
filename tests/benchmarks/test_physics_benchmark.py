"""The benchmark of the physics gives the rows that it promises, and our answers are the peers'."""

import json

import pytest
from physics import main
from rows import check_rows


@pytest.mark.long
def test_a_quick_run_has_every_row_and_answers_that_agree(tmp_path, capsys):
    main(tmp_path / "rows.json", quick=True)
    assert "beside peers and limits" in capsys.readouterr().out
    rows = {row.name: row for row in check_rows(json.loads((tmp_path / "rows.json").read_text()))}
    for name in ("mwa_10min_100_s", "rfa_12min_s", "cryo_4probes_15min_s", "ire_pair_s", "stencil_gcell_per_s"):
        assert rows[name].peer_name == "limit set by this project" and rows[name].value > 0
    assert rows["stencil_gcell_per_s beside the bandwidth"].ratio < 1.5
    assert rows["pennes_600s_100_s, largest difference of numpy"].ratio < 0.01
    assert rows["mwa_10min_100_s, zone_cm3 beside numpy"].ratio == pytest.approx(1.0, abs=0.08)
    assert rows["cryo_4probes_15min_s, ice_cm3 beside numpy"].ratio == pytest.approx(1.0, abs=0.08)
    assert rows["ire_pair_s, current_a beside scipy"].ratio == pytest.approx(1.0, abs=0.05)
    assert abs(rows["mwa_10min_100_s, energy_residual"].value) < 1e-4

import re
from pathlib import Path

import pytest

from ml_project.contract_file import InvalidContract, contract_named, parse_contract, read_contract
from ml_project.errors import InvalidInput
from ml_project.features import OPERATORS
from tests.support.creditcard import CREDITCARD
from tests.support.history import HISTORY_OF_DAYS
from tests.support.shop import SHOP, SHOP_YAML


def lines(text: str) -> list[str]:
    with pytest.raises(InvalidContract) as caught:
        parse_contract(text.encode(), "my.yaml")
    return caught.value.lines


def test_names_are_taken_as_they_are_written() -> None:
    assert SHOP.raw_fields == ("seconds of the day", "betrag.in.€", "class", "1st", 'select "all"', "no")
    assert SHOP.label_field == "is fraud?"
    assert SHOP.engineered[0] == "hour"


def test_a_range_stands_for_each_of_its_names() -> None:
    more = "  no: {type: number}\n  N8..N11: {type: number, example: [1, 2, 3, 4]}\n"
    text = SHOP_YAML.replace("  no: {type: number}\n", more)
    text = text.replace("  no: {value: no}\n", "  no: {value: no}\n  F1..F4: {value: N8..N11}\n")
    text += "  widest: {max_abs: [class, N8..N11]}\n"
    contract = parse_contract(text.encode(), "my.yaml")
    assert contract.raw_fields[-4:] == ("N8", "N9", "N10", "N11")
    assert [field.example for field in contract.fields[-4:]] == [1, 2, 3, 4]
    features = {feature.name: feature.of for feature in contract.features}
    assert (features["F1"], features["F4"]) == (("N8",), ("N11",))
    assert features["widest"] == ("class", "N8", "N9", "N10", "N11")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "  class: {type: number}",
            "  class: {type: money}",
            "my.yaml, line 5: field class: type: Input should be 'number', 'integer', 'boolean', 'category', "
            "'timestamp' or 'string'. Correct it.",
        ),
        (
            "  class: {type: number}",
            "  class: {type: number, min: 3}",
            "my.yaml, line 5: field class: min: unknown key. Use decimals, description, example, expected, maximum, "
            "minimum, required, role, type, unit, values.",
        ),
        (
            "  no: {type: number}",
            "  class: {type: number}",
            "my.yaml, line 8: field class: it is there twice, first in line 5. Keep one.",
        ),
        (
            "  class: {type: number}",
            "  class: number",
            "my.yaml, line 5: field class: it holds no names. Write a mapping, such as {type: number}.",
        ),
        (
            "  no: {type: number}",
            "  no: {type: number}\n  N9..N3: {type: number}",
            "my.yaml, line 9: field N9..N3: the range N9..N3 runs from 9 to 3. Write it from low to high.",
        ),
        (
            "  spread: {variance: [class, 1st, no]}",
            "  spread: {median: [class, 1st, no]}",
            "my.yaml, line 23: feature spread: there is no operator median. Use one of value, log1p, zscore, ratio, "
            "hour_of_day, day_of_week, weekend, one_hot, frequency, missing, variance, max_abs, mean_abs, "
            "count, sum, mean, maximum, distinct, seconds_since_last, fraud_rate.",
        ),
        (
            "  spread: {variance: [class, 1st, no]}",
            "  spread: {variance: [class, 1st, no], value: class}",
            "my.yaml, line 23: feature spread: 2 operators, not one. Name one of value, log1p, zscore, ratio, "
            "hour_of_day, day_of_week, weekend, one_hot, frequency, missing, variance, max_abs, mean_abs, "
            "count, sum, mean, maximum, distinct, seconds_since_last, fraud_rate.",
        ),
        (
            "  log_to_ratio: {ratio: [betrag_log, class_to_1st]}",
            "  log_to_ratio: {ratio: [betrag_lg, class_to_1st]}",
            "my.yaml, line 20: feature log_to_ratio: betrag_lg is neither a field nor an earlier feature. Correct the "
            "name, or move it up.",
        ),
        (
            'label: {field: "is fraud?"}',
            'label: {field: "is fraud?", negative: [no, yes]}',
            "my.yaml, line 9: label: 'yes' stands for two of fraud, legitimate and unknown. Give it to one only.",
        ),
        ('label: {field: "is fraud?"}', "", "my.yaml, line 1: the section label is missing. Add it."),
        (
            'label: {field: "is fraud?"}',
            'label: {field: "is fraud?"}\nlabels: 3',
            "my.yaml, line 10: there is no section labels. Use contract, version, fields, label, features, limits.",
        ),
        (
            "contract: shop",
            "contract: My Shop",
            "my.yaml: contract: String should match pattern '^[a-z][a-z0-9_-]{0,39}$'.",
        ),
        (
            "  class: {type: number}",
            "  class: {type: number",
            "my.yaml, line 6: not YAML (expected ',' or '}', but got ':'). Correct it.",
        ),
    ],
)
def test_every_fault_is_told_with_line_and_remedy(old: str, new: str, said: str) -> None:
    assert old in SHOP_YAML
    assert said in lines(SHOP_YAML.replace(old, new, 1))


def test_all_faults_are_told_at_once() -> None:
    broken = SHOP_YAML.replace("  class: {type: number}", "  class: {type: text}").replace("above: 40", "above: high")
    found = lines(broken)
    assert [line.split(": ")[0] for line in found] == ["my.yaml, line 5", "my.yaml, line 22"]
    with pytest.raises(InvalidInput, match=r"line 5: field class.*1 more fault"):
        parse_contract(broken.encode(), "my.yaml")


@pytest.mark.parametrize("content", [b"", b"- 1\n- 2\n", b"just text", b"\xff\xfe", b"a: &x [*x]", b"x" * (2 << 20)])
def test_what_is_no_contract_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidContract, match=r"^my\.yaml"):
        parse_contract(content, "my.yaml")


def test_contracts_are_found_by_name_or_path(tmp_path: Path) -> None:
    assert contract_named("creditcard") == CREDITCARD
    (tmp_path / "shop.yaml").write_text(SHOP_YAML)
    assert contract_named(str(tmp_path / "shop.yaml")) == read_contract(tmp_path / "shop.yaml") == SHOP
    with pytest.raises(InvalidInput, match=r"no contract 'shop'.*YAML file, or one of cards, creditcard"):
        contract_named("shop")
    with pytest.raises(InvalidInput, match=r"none\.yaml: cannot be read"):
        contract_named(str(tmp_path / "none.yaml"))


def test_the_example_of_the_documentation_is_a_contract() -> None:
    page = (Path(__file__).parents[3] / "docs" / "contracts.md").read_text()
    [example] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    contract = parse_contract(example.encode(), "docs/contracts.md")
    assert contract.unlearnt == ("country",)
    assert {"channel=web", "channel=other", "channel=missing", "night", "spread"} <= {*contract.feature_names}
    for name in OPERATORS:
        assert f"`{name}" in page
    assert {field.type for field in contract.fields} == {
        *("number", "integer", "boolean", "category", "timestamp", "string")
    }


def test_logarithms_are_of_history_that_is_never_below_0() -> None:
    spread = HISTORY_OF_DAYS + "  log_count: {log1p: card_count}\n"
    assert parse_contract(spread.encode(), "my.yaml").feature_names[-1] == "log_count"
    with pytest.raises(InvalidInput, match="feature log_mean: log1p takes a field that is never below 0"):
        parse_contract((HISTORY_OF_DAYS + "  log_mean: {log1p: card_mean}\n").encode(), "my.yaml")

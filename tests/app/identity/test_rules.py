"""Personal data, made unrecognisable (PII-1 to PII-3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.identity.rules import mask_email, pseudonym, simplify_user_agent, truncate_ip


@pytest.mark.parametrize(
    ("email", "masked"),
    [
        ("john.doe@example.com", "j***@e***.com"),
        ("ada@mail.northwind.co.uk", "a***@m***.northwind.co.uk"),
        ("a@b.com", "***@***.com"),
        ("ab@c.com", "a***@***.com"),
        ("root@localhost", "r***@l***"),
        ("root@", "r***@***"),
        ("@example.com", "***@e***.com"),
        ('"a@b"@example.com', '"***@e***.com'),
        ("no address", "***"),
        ("", "***"),
    ],
)
def test_pii_1_an_address_keeps_its_first_letters_and_the_rest_of_its_domain(email: str, masked: str) -> None:
    assert mask_email(email) == masked


words = st.text(st.characters(exclude_characters="@."), min_size=2, max_size=20)


@given(words, words)
def test_pii_1_masking_shows_one_letter_of_the_person_and_of_the_house(local: str, label: str) -> None:
    assert mask_email(f"{local}@{label}.example") == f"{local[0]}***@{label[0]}***.example"


def test_pii_2_the_pseudonym_is_the_rules_example_in_any_spelling() -> None:
    assert pseudonym("john.doe@example.com") == "user_836f82db99121b34"
    assert pseudonym("  John.Doe@Example.COM ") == "user_836f82db99121b34"
    assert pseudonym("jane.doe@example.com") != pseudonym("john.doe@example.com")


@pytest.mark.parametrize(
    ("address", "cut"),
    [
        ("192.168.17.234", "192.168.17.0"),
        (" 10.0.0.1 ", "10.0.0.0"),
        ("2001:db8:85a3:8d3:1319:8a2e:370:7348", "2001:db8:85a3::"),
        ("2001:db8::1", "2001:db8:0::"),
        ("::1", "0:0:0::"),
        ("[2001:db8::1]", "2001:db8:0::"),
        ("fe80::1%eth0", "fe80:0:0::"),
        ("::ffff:192.168.17.234", "192.168.17.0"),
    ],
)
def test_pii_3_an_address_loses_what_names_the_machine(address: str, cut: str) -> None:
    assert truncate_ip(address) == cut


@pytest.mark.parametrize("text", ["unknown", "300.1.1.1", "", "\ud800"])
def test_pii_3_what_is_no_address_is_hashed(text: str) -> None:
    assert len(truncate_ip(text)) == 16
    assert text == "" or text not in truncate_ip(text)


@given(st.ip_addresses())
def test_pii_3_the_last_part_of_an_address_never_shows(address: object) -> None:
    cut = truncate_ip(str(address))
    assert cut.endswith((".0", "::"))
    assert truncate_ip(cut.removesuffix("::") + "::" if cut.endswith("::") else cut) == cut


@pytest.mark.parametrize(
    ("agent", "simple"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/128.0", "Mozilla Gecko Firefox"),
        ("curl/8.5.0", "curl"),
        ("python-httpx/0.28.1", "python-httpx"),
        ("Agent 2.1 (build (7) [x]) v3", "Agent"),
        ("", ""),
    ],
)
def test_pii_3_a_program_loses_its_versions_and_its_brackets(agent: str, simple: str) -> None:
    assert simplify_user_agent(agent) == simple

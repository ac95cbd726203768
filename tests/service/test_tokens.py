"""API tokens: made, written into a file as digests, read back; and nothing of a token in any message."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import InputError
from service.tokens import new_token, read_tokens


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def test_a_token_is_known_by_its_digest_alone(file: Path) -> None:
    shop, of_shop = new_token(["infer"], "the web shop")
    ann, of_ann = new_token(["admin", "infer"])
    file.write_text(f"# ours\n\n{of_shop}\n  {of_ann}  # Ann\n", encoding="utf-8")
    tokens = read_tokens(file)
    assert (tokens.scopes(shop), tokens.scopes(ann)) == ({"infer"}, {"infer", "admin"})
    assert [tokens.scopes(other) for other in ("", shop[:-1], f"{shop} ", of_shop.digest, "\udcff")] == [
        None
    ] * 5
    assert (len(tokens), tokens.count("infer"), tokens.count("admin")) == (2, 2, 1)
    assert shop not in file.read_text(encoding="utf-8")
    assert of_shop.digest not in repr(of_shop)


def test_tokens_are_long_and_never_the_same() -> None:
    made = {new_token(["infer"])[0] for _ in range(50)}
    assert len(made) == 50
    assert all(len(token) == len("graft_") + 43 and token.startswith("graft_") for token in made)


def test_a_line_has_scopes_digest_and_name() -> None:
    _, known = new_token(["admin", "infer"], "  Ann of  the shop ")
    assert str(known) == f"infer,admin sha256:{known.digest} Ann of the shop"


@pytest.mark.parametrize(
    ("scopes", "name", "message"),
    [
        (["infre"], "", r"'infre' is no scope; expected infer, admin, .*Did you mean infer\?"),
        ([], "", "no scope; expected infer, admin"),
        (["infer"], "a\nadmin sha256:", "the name is .* expected text of one line"),
        (["infer"], "a # b", "expected text of one line without #"),
    ],
)
def test_what_cannot_be_made(scopes: list[str], name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        new_token(scopes, name)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("infer", r"line 2: expected scopes, sha256: with 64 hexadecimal digits"),
        ("infer sha256:12", r"line 2: expected scopes, sha256:"),
        ("infer graft_SECRET", r"line 2: expected scopes.* The token itself does not belong here"),
        ("graft_SECRETSECRETSECRET sha256:" + "0" * 64, "line 2: something else stands in place of scopes"),
        ("root sha256:" + "0" * 64, r"line 2: 'root' is no scope; expected infer, admin"),
    ],
)
def test_a_line_that_is_none_is_named_by_its_number_alone(file: Path, line: str, message: str) -> None:
    file.write_text(f"# first\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match=message) as raised:
        read_tokens(file)
    assert "SECRET" not in str(raised.value)


def test_a_file_without_tokens_is_refused(file: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read \(No such file.*graft token infer --out"):
        read_tokens(file)
    file.write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"holds no token\. Make one: graft token infer"):
        read_tokens(file)
    file.write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"cannot be read \(no UTF-8\)"):
        read_tokens(file)

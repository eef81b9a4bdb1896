"""The key in force, those it followed, and the HSM."""

from __future__ import annotations

import base64

KEY_LINE = 'encryption: {key_file: "${KEY_FILE}"}\n'


def of(number: int) -> str:
    return base64.b64encode(bytes([number]) * 32).decode()


def test_former_keys_are_read_from_their_files_in_their_order(host, minimal):
    first, second = host.file("first", of(1) + "\n"), host.file("second", of(2))
    text = minimal.replace(
        KEY_LINE, f'encryption: {{key_file: "${{KEY_FILE}}", previous_key_files: [{second}, {first}]}}\n'
    )
    loaded = host.load(text).encryption
    assert loaded.all_key_bytes() == (loaded.key_bytes(), b"\2" * 32, b"\1" * 32)


def test_the_environment_can_name_them(host, minimal):
    first, second = host.file("first", of(1)), host.file("second", of(2))
    loaded = host.load(minimal, ZEROTRUST_ENCRYPTION_PREVIOUS_KEY_FILES=f"{first}, {second}")
    assert loaded.encryption.all_key_bytes()[1:] == (b"\1" * 32, b"\2" * 32)


def test_a_former_key_is_as_private_as_the_key_in_force(host, minimal):
    open_to_all = host.file("open", of(1), mode=0o644)
    link = host.folder / "link"
    link.symlink_to(host.file("behind", of(1)))
    for path, fault in (
        (open_to_all, "open to others"),
        (link, "is a symbolic link"),
        ("/nonexistent", "does not exist"),
    ):
        (line,) = host.problems(minimal, ZEROTRUST_ENCRYPTION_PREVIOUS_KEY_FILES=str(path))
        assert fault in line
        assert "encryption.previous_key_files[0]" in line


def test_a_key_that_stands_where_its_file_belongs_is_not_repeated(host, minimal):
    text = minimal.replace(KEY_LINE, f'encryption: {{key_file: "${{KEY_FILE}}", previous_key_files: ["{of(7)}"]}}\n')
    (line,) = host.problems(text)
    assert "is not an absolute path" in line
    assert of(7) not in line


def test_the_key_in_force_among_the_former_ones_is_a_slip_that_is_named(host, minimal):
    (line,) = host.problems(minimal, ZEROTRUST_ENCRYPTION_PREVIOUS_KEY_FILES=host.environ["KEY_FILE"])
    assert "holds the key that is in force" in line


def test_an_hsm_that_is_enabled_needs_a_place(host, minimal):
    (line,) = host.problems(minimal, ZEROTRUST_ENCRYPTION_HSM_ENABLED="true")
    assert "encryption.hsm.config: is missing" in line
    assert "token_label" in line


def test_the_hsm_of_the_interface_is_accepted_and_its_pin_shown_nowhere(host, minimal):
    pin = host.file("pin", "1234\n")
    place = f"{{module: /usr/lib/softhsm/libsofthsm2.so, token_label: broker, pin_file: {pin}}}"
    hsm = f"hsm: {{enabled: true, provider: pkcs11, config: {place}}}"
    loaded = host.load(minimal.replace(KEY_LINE, f'encryption: {{key_file: "${{KEY_FILE}}", {hsm}}}\n')).encryption.hsm
    assert loaded.enabled
    assert loaded.config is not None
    assert (loaded.config.pin.reveal(), loaded.config.key_label) == ("1234", "zerotrust-audit")
    assert "1234" not in repr(loaded)


GUIDE = """
encryption:
  key_file: "${KEY_FILE}"
  hsm:
    enabled: true
    provider: aws-cloudhsm
    config:
      cluster_id: cluster-1234567
      hsm_ip: 10.0.0.1
      hsm_username: crypto-user
      hsm_password: ${HSM_PASSWORD}
"""


def test_the_cloudhsm_of_the_guide_is_accepted_as_printed_and_its_password_shown_nowhere(host, minimal):
    loaded = host.load(minimal.replace(KEY_LINE, GUIDE), HSM_PASSWORD="opensesame").encryption.hsm
    place = loaded.place()
    assert (str(place.module), place.label, place.is_cloudhsm) == (
        "/opt/cloudhsm/lib/libcloudhsm_pkcs11.so",
        None,
        True,
    )
    assert place.pin.reveal() == "crypto-user:opensesame"
    assert "opensesame" not in repr(loaded) + repr(place)


def test_each_hsm_takes_its_own_keys_and_no_other_s(host, minimal):
    (line,) = host.problems(minimal.replace(KEY_LINE, GUIDE + "      pin: '1234'\n"), HSM_PASSWORD="x")
    assert "encryption.hsm.config: has pin, which aws-cloudhsm does not know" in line
    (line,) = host.problems(minimal.replace(KEY_LINE, GUIDE.replace("      hsm_ip: 10.0.0.1\n", "")), HSM_PASSWORD="x")
    assert "encryption.hsm.config: lacks hsm_ip, which aws-cloudhsm needs" in line


def test_what_cannot_be_an_hsm_of_the_cluster_is_named(host, minimal):
    for old, new, fault in (
        ("10.0.0.1", "hsm.example.com", "is not an IP address"),
        ("crypto-user", "crypto:user", "is not a user's name"),
        ("cluster-1234567", "1234567", "is not a cluster's id"),
    ):
        (line,) = host.problems(minimal.replace(KEY_LINE, GUIDE.replace(old, f"'{new}'")), HSM_PASSWORD="x")
        assert fault in line


KMS = """
encryption:
  master: {provider: aws-kms, config: {key_id: "arn:aws:kms:eu-central-1:111122223333:alias/zerotrust"}}
"""


def test_a_master_key_elsewhere_needs_none_here_and_one_that_is_here_is_of_before(host, minimal):
    alone = host.load(minimal.replace(KEY_LINE, KMS)).encryption
    assert (alone.key, alone.all_key_bytes(), alone.master.is_local) == (None, (), False)
    beside = host.load(minimal.replace(KEY_LINE, KMS + '  key_file: "${KEY_FILE}"\n')).encryption
    assert len(beside.all_key_bytes()) == 1


def test_without_a_master_key_anywhere_the_missing_one_is_named(host, minimal):
    (line,) = host.problems(minimal.replace(KEY_LINE, "encryption: {hsm: {enabled: false}}\n"))
    assert "encryption.key: is missing" in line


def test_each_place_of_the_master_key_takes_its_own_keys_and_no_other_s(host, minimal):
    for master, fault in (
        ("{provider: aws-kms}", "lacks key_id, which aws-kms needs"),
        (
            "{provider: vault-transit, config: {url: 'https://v:8200'}}",
            "lacks auth_method, key_name, which vault-transit",
        ),
        ("{provider: file, config: {key_id: x}}", "has key_id, which file does not know"),
        ("{provider: azure-key-vault, config: {key_name: x}}", "lacks client_id, client_secret, tenant_id, vault_url"),
        ("{provider: pkcs11}", "encryption.master: is pkcs11, and encryption.hsm is not enabled"),
    ):
        (line,) = host.problems(minimal.replace(KEY_LINE, f"encryption: {{master: {master}}}\n"))
        assert fault in line

"""One call a protocol and more through the client that openapi-python-client has generated: calls.py URL OPERATION.

OPERATION is a file with the canonical bytes of a signed operation.
"""

import json
import sys
from pathlib import Path

from omp_client import AuthenticatedClient, Client
from omp_client.api.avp import describe_vault, request_challenge
from omp_client.api.mrs import create_account, register_place, search_places
from omp_client.api.nexus import get_config, list_commands
from omp_client.api.objects import create_object, get_object
from omp_client.api.oplog import append_operations, get_heads
from omp_client.api.system import check_health
from omp_client.models import (
    Challenge,
    EvidenceIngest,
    FoundPlaces,
    Health,
    LogHeads,
    NewAccount,
    NewObject,
    NewRegistration,
    Nonce,
    Object,
    ObjectSummary,
    Outcome,
    PlaceSearch,
    Profile,
    Registered,
    RegistryToken,
    Sphere,
    VaultInfo,
)

url, operation_file = sys.argv[1:]
client = Client(base_url=url)

health = check_health.sync(client=client)
assert isinstance(health, Health), health

made = create_object.sync(client=client, body=NewObject.from_dict({"namespace": "ci", "content": {"x": 1}}))
assert isinstance(made, ObjectSummary), made
fetched = get_object.sync(str(made.id), client=client)
assert isinstance(fetched, Object) and fetched.content["x"] == 1, fetched

operation = EvidenceIngest.from_dict(json.loads(Path(operation_file).read_bytes()))
outcome = append_operations.sync(operation.log, client=client, body=operation)
assert isinstance(outcome, Outcome) and outcome.status == "accepted", outcome
heads = get_heads.sync(operation.log, client=client)
assert isinstance(heads, LogHeads) and heads.heads == [outcome.id], heads

vault = describe_vault.sync(client=client)
assert isinstance(vault, VaultInfo) and vault.limits.max_members > 0, vault
nonce = request_challenge.sync(
    client=client, body=Challenge(ed_25519_public_key="11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
)
assert isinstance(nonce, Nonce), nonce

login = create_account.sync(client=client, body=NewAccount(username="mark", password="secret"))
assert isinstance(login, RegistryToken), login
space = {"type": "sphere", "center": {"lat": 48.2, "lon": 16.37}, "radius": 50}
place = register_place.sync(
    client=AuthenticatedClient(base_url=url, token=login.token),
    body=NewRegistration.from_dict({"space": space, "service_point": "https://example.com/place"}),
)
assert isinstance(place, Registered), place
found = search_places.sync(
    client=client, body=PlaceSearch.from_dict({"location": {"lat": 48.2, "lon": 16.37}, "range": 10})
)
assert isinstance(found, FoundPlaces) and isinstance(found.results[0].space, Sphere), found

profile = get_config.sync(client=AuthenticatedClient(base_url=url, token="0x" + "11" * 20))
assert isinstance(profile, Profile) and profile.effective_config["max_tokens"], profile
commands = list_commands.sync(client=client)
assert isinstance(commands, list) and commands[0].name, commands
print("the generated Python client made 12 calls to five protocols")

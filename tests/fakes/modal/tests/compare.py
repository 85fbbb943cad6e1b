"""Compares what two clients sent for the same operations, as Modal's own descriptors read it.

Prints a JSON list of {method, field, official, ours}. The field `*` stands for how often a method is called, and `metadata:NAME` for what comes with a call.
"""

import json
import sys
from collections import defaultdict

from google.protobuf.json_format import MessageToDict
from google.protobuf.unknown_fields import UnknownFieldSet
from modal_proto import api_pb2, task_command_router_pb2

SERVICES = [
    api_pb2.DESCRIPTOR.services_by_name["ModalClient"],
    task_command_router_pb2.DESCRIPTOR.services_by_name["TaskCommandRouter"],
]

# What is another value each time.
IDS = {"exec_id", "task_id", "sandbox_id", "image_id", "app_id", "context_mount_id", "before_timestamp"}

# What these list is in no order.
UNORDERED = {"sha256_hex_hashes"}

# How often these are called depends on how long things take.
POLLED = {"SandboxWaitV2", "TaskExecWait", "AuthTokenGet", "TaskExecStdioRead", "TaskExecStdinWrite", "ImageJoinStreaming", "TaskExecPoll"}


def input_type(method):
    for service in SERVICES:
        if method in service.methods_by_name:
            return service.methods_by_name[method].input_type._concrete_class
    sys.exit(f"the official descriptors know no method {method}")


def has_unknown_fields(message):
    if len(UnknownFieldSet(message)):
        return True
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for part in value if field.is_repeated else [value]:
            if has_unknown_fields(part):
                return True
    return False


def normal(value, name=""):
    """What is left of a message when what differs each time is replaced."""
    if isinstance(value, dict):
        return {key: normal(part, key) for key, part in value.items()}
    if isinstance(value, list):
        parts = [normal(part, name) for part in value]
        return sorted(parts) if name in UNORDERED else parts
    if isinstance(value, str) and value.startswith("{"):
        # Spaces and order are of no account.
        return json.dumps(json.loads(value), sort_keys=True)
    return f"<{name}>" if name in IDS else value


def read(calls, is_ours):
    by_method = defaultdict(list)
    for call in calls:
        kind = input_type(call["method"])
        for encoded in call["messages"]:
            message = kind.FromString(bytes.fromhex(encoded))
            if is_ours and has_unknown_fields(message):
                sys.exit(f"{call['method']} has fields that the official descriptors do not know: {message}")
            by_method[call["method"]].append(normal(MessageToDict(message, preserving_proto_field_name=True)))
    return by_method


def flat(value, prefix=""):
    if isinstance(value, dict):
        for key, part in value.items():
            yield from flat(part, f"{prefix}.{key}" if prefix else key)
    elif isinstance(value, list) and any(isinstance(part, (dict, list)) for part in value):
        for part in value:
            yield from flat(part, f"{prefix}[]")
    else:
        yield prefix, json.dumps(value, sort_keys=True)


def fields(messages):
    found = defaultdict(set)
    for message in messages:
        for path, value in flat(message):
            found[path].add(value)
    return found


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        calls = json.load(file)
    official, ours = read(calls["official"], False), read(calls["ours"], True)
    differences = []

    def differ(method, field, one, other):
        differences.append({"method": method, "field": field, "official": str(one), "ours": str(other)})

    for method in sorted(official.keys() | ours.keys()):
        if method not in POLLED and len(official[method]) != len(ours[method]):
            differ(method, "*", len(official[method]), len(ours[method]))
        elif bool(official[method]) != bool(ours[method]):
            differ(method, "*", len(official[method]), len(ours[method]))
        one, other = fields(official[method]), fields(ours[method])
        for path in sorted(one.keys() | other.keys()):
            if one[path] != other[path]:
                differ(method, path, sorted(one[path]), sorted(other[path]))
    for service, methods in (("control", SERVICES[0].methods_by_name), ("router", SERVICES[1].methods_by_name)):
        names = [
            {name for call in calls[whose] if call["method"] in methods for name in call["metadata"] if name.startswith(("x-", "authorization"))}
            for whose in ("official", "ours")
        ]
        for name in sorted(names[0] ^ names[1]):
            differ(service, f"metadata:{name}", name in names[0], name in names[1])
    json.dump(differences, sys.stdout)


if __name__ == "__main__":
    main()

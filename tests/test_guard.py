"""No test reaches the network: a connection that leaves this machine is refused, one that stays is not."""

from __future__ import annotations

import socket

import pytest


@pytest.mark.parametrize("host", ["192.0.2.1", "example.org"])  # an address for documentation only, and a name
def test_a_connection_to_another_machine_is_refused_before_it_is_tried(host: str) -> None:
    with socket.socket() as outward, pytest.raises(AssertionError, match=f"network: {host}"):
        outward.connect((host, 80))


def test_a_connection_within_this_machine_is_made() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as inward:
        inward.connect(server.getsockname())
        assert inward.getpeername() == server.getsockname()

"""Procedures that wait, written once for threads and for asyncio.

A procedure is a generator of steps: something that is called, and may block, or a wait. Who runs it decides how.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import Any, Callable, Generator, NamedTuple, Optional


class Step(NamedTuple):
    call: Optional[Callable[[], Any]]
    seconds: float


def call(f: Callable[[], Any]) -> Step:
    return Step(f, 0.0)


def sleep(seconds: float) -> Step:
    return Step(None, max(seconds, 0.0))


def run(steps: Generator[Step, Any, Any]) -> Any:
    """Runs a procedure in this thread."""
    send, value = steps.send, None
    while True:
        try:
            step = send(value)
        except StopIteration as e:
            return e.value
        try:
            value = None
            if step.call is None:
                time.sleep(step.seconds)
            else:
                value = step.call()
                if inspect.isawaitable(value):
                    if hasattr(value, "close"):
                        value.close()
                    raise TypeError("a coroutine function where an ordinary one is called")
            send = steps.send
        except BaseException as e:
            send, value = steps.throw, e


async def run_async(steps: Generator[Step, Any, Any]) -> Any:
    """Runs a procedure: what is called in a thread, and what that returns is awaited if it can be."""
    send, value = steps.send, None
    while True:
        try:
            step = send(value)
        except StopIteration as e:
            return e.value
        try:
            value = None
            if step.call is None:
                await asyncio.sleep(step.seconds)
            else:
                value = await asyncio.to_thread(step.call)
                if inspect.isawaitable(value):
                    value = await value
            send = steps.send
        except BaseException as e:
            send, value = steps.throw, e

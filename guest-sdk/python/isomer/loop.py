"""The event loop of a component: `asyncio` on the calls of one handler.

A component is entered by one plain function call at a time. When no coroutine of the handler can go on, the
loop waits in the node for any of the calls in flight. A handler that makes one call after the other never
comes here: a call that is alone crosses the boundary once, and the handler runs to its end in the first step
of its task.

There are no threads, sockets or files in this loop; `asyncio.sleep`, `gather`, `wait_for`, `timeout`,
`TaskGroup`, `Queue` and locks work, because they need nothing but the loop itself.
"""

import asyncio
import heapq
import sys
import time
from asyncio import events
from collections import deque

from isomer import _host
from isomer.errors import MoleculerError, from_failure

__isomer_inside__ = True

# Without it a task always begins in a later step of the loop.
_EAGER = {"eager_start": True} if sys.version_info >= (3, 12) else {}

POLL_MIN, POLL_MAX = 0.000_2, 0.005
"""Seconds between looks at calls while a timer runs too: the node waits for calls or for time, not both."""


class Loop(asyncio.AbstractEventLoop):
    """Runs one handler at a time."""

    def __init__(self):
        self._ready = deque()
        self._timers = []
        self._pending = {}
        self._tasks = False
        self._serial = 0

    def run(self, coroutine):
        """Runs a handler's coroutine to its end and gives its result or raises its exception.

        Tasks that it leaves behind are cancelled: their context is over.
        """
        events._set_running_loop(self)
        try:
            task = asyncio.Task(coroutine, loop=self, **_EAGER)
            while not task.done():
                self._turn()
            return task.result()
        finally:
            if self._tasks or not self.is_idle():
                self.finish()
            events._set_running_loop(None)

    def is_idle(self):
        """True when nobody else could run while one coroutine waits in the node."""
        return not (self._ready or self._timers or self._pending)

    def wait_for_call(self, call):
        """The future of a call that the node has: its payload."""
        future = self.create_future()
        self._pending[future] = call
        return future

    def _turn(self):
        """Runs what can run; when nothing can, waits until something can."""
        if not self._ready:
            self._wait()
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _wait(self):
        self._forget_cancelled()
        if self._timers:
            self._wait_for_time()
        elif self._pending:
            futures = list(self._pending)
            index = _host.wait_any([self._pending[future] for future in futures])
            for future in futures[index or 0 :]:
                self._collect(future)
        else:
            raise MoleculerError(
                500,
                "WAITS_FOR_NOTHING",
                "the handler waits for something that is neither a call of its context nor a timer; "
                "in a component nothing else can wake it (no threads, sockets or signals)",
            )

    def _wait_for_time(self):
        pause = POLL_MIN
        while True:
            left = self._timers[0][0] - time.monotonic()
            if left <= 0:
                self._ready.append(heapq.heappop(self._timers)[2])
                return
            if not self._pending:
                time.sleep(left)
                continue
            if any([self._collect(future) for future in list(self._pending)]):
                return
            time.sleep(min(left, pause))
            pause = min(pause * 2, POLL_MAX)

    def _collect(self, future):
        """Takes the result of a call, if it is there."""
        result = self._pending[future].take()
        if result is None:
            return False
        call = self._pending.pop(future)
        if not future.done():
            settle(future, call, result)
        return True

    def _forget_cancelled(self):
        """Abandons the calls for which nobody waits any more."""
        for future in [future for future in self._pending if future.done()]:
            release(self._pending.pop(future))
        while self._timers and self._timers[0][2]._cancelled:
            heapq.heappop(self._timers)

    def finish(self):
        """Ends what a handler has left behind."""
        self._tasks = False
        for _ in range(100):
            left = [task for task in asyncio.all_tasks(self) if not task.done()]
            if not left:
                break
            for task in left:
                task.cancel()
            while self._ready:
                self._turn()
        for call in self._pending.values():
            release(call)
        self._pending.clear()
        self._timers.clear()
        self._ready.clear()

    # What asyncio asks of a loop.

    def time(self):
        return time.monotonic()

    def call_soon(self, callback, *args, context=None):
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(self, delay, callback, *args, context=None):
        return self.call_at(time.monotonic() + delay, callback, *args, context=context)

    def call_at(self, when, callback, *args, context=None):
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._serial += 1
        heapq.heappush(self._timers, (when, self._serial, handle))
        return handle

    def create_future(self):
        return asyncio.Future(loop=self)

    def create_task(self, coro, **kwargs):
        self._tasks = True
        return asyncio.Task(coro, loop=self, **kwargs)

    def _timer_handle_cancelled(self, handle):
        """Cancelled timers are passed over when their time comes."""

    def get_debug(self):
        return False

    def is_running(self):
        return True

    def is_closed(self):
        return False

    def call_exception_handler(self, context):
        error = context.get("exception")
        text = f"{context.get('message')}: {error!r}" if error else str(context.get("message"))
        _host.logger.log(_host.Level.WARN, text, None)

    def default_exception_handler(self, context):
        self.call_exception_handler(context)

    def run_in_executor(self, executor, func, *args):
        raise NotImplementedError("a component has no threads; call the function itself")


def settle(future, call, result):
    """Hands the result of a call to who waits for it."""
    if isinstance(result, _host.Err):
        future.set_exception(from_failure(result.value))
    else:
        future.set_result((result.value, call))


def release(resource):
    """Gives a resource of the node back."""
    resource.__exit__(None, None, None)


LOOP = Loop()
"""The loop of this instance, which runs one handler at a time."""

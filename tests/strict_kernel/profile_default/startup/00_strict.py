"""Runs first in every test kernel: an error that nobody saw becomes the error of the running cell.

Jupyter hides errors. A thread prints to whichever cell is last, a widget's callback shows its traceback
nowhere, a task or a future keeps its exception until somebody asks. Each hook below notes such an error,
and at the end of each cell the notes, if any, fail that cell. An error that somebody did ask for, by
awaiting the task or calling `result()`, is that somebody's business.
"""


def _install(shell):
    import asyncio
    import concurrent.futures
    import gc
    import logging
    import sys
    import threading
    import time
    import weakref

    settle = 0.5  # seconds that a cell waits for the threads it started, so that one failing at once is seen

    many = 20  # modules that a cell imports: what they made stays, and the collector need not look at it each time

    unseen = []  # (where, exception)
    tasks = weakref.WeakSet()
    futures = weakref.WeakSet()
    threads = []
    modules = 0

    def note(where, exception):
        if exception is not None and not any(known is exception for _, known in unseen):
            unseen.append((where, exception))

    # Threads, and what the interpreter could only print.
    thread_hook, unraisable_hook = threading.excepthook, sys.unraisablehook
    thread_start = threading.Thread.start

    def on_thread_error(args):
        if args.exc_type is not SystemExit:
            note(f"thread {args.thread.name}" if args.thread else "thread", args.exc_value)
        thread_hook(args)

    def on_unraisable(args):
        note(args.err_msg or "unraisable", args.exc_value)
        unraisable_hook(args)

    def start(thread):
        thread_start(thread)
        threads.append(thread)  # not before: a cell may end while it starts, and what has not started cannot be joined

    threading.excepthook, sys.unraisablehook, threading.Thread.start = on_thread_error, on_unraisable, start

    # `with Output()`, `@output.capture`, `interact` and callbacks from the browser all end here.
    show_traceback = shell.showtraceback

    def showtraceback(exc_tuple=None, *args, **kwargs):
        note("shown, not raised", (exc_tuple or sys.exc_info())[1])
        return show_traceback(exc_tuple, *args, **kwargs)

    shell.showtraceback = showtraceback

    # Logged with a traceback, as an error.
    make_record = logging.getLogRecordFactory()

    def record(*args, **kwargs):
        entry = make_record(*args, **kwargs)
        if entry.levelno >= logging.ERROR and entry.exc_info:
            note(f"logged by {entry.name}", entry.exc_info[1])
        return entry

    logging.setLogRecordFactory(record)

    # Futures of an executor that failed and that nobody asked.
    Future = concurrent.futures.Future
    set_exception, get_result, get_exception = Future.set_exception, Future.result, Future.exception

    def failed(future, exception):
        futures.add(future)
        set_exception(future, exception)

    def result(future, timeout=None):
        futures.discard(future)
        return get_result(future, timeout)

    def exception(future, timeout=None):
        futures.discard(future)
        return get_exception(future, timeout)

    Future.set_exception, Future.result, Future.exception = failed, result, exception

    # Tasks: the loop tells of those that were dropped, the set holds those that the notebook keeps.
    def on_loop_error(loop, context):
        note("asyncio", context.get("exception"))
        loop.default_exception_handler(context)

    def new_task(loop, coroutine, **kwargs):
        task = asyncio.Task(coroutine, loop=loop, **kwargs)
        tasks.add(task)
        return task

    def before_cell(info):
        nonlocal modules
        threads.clear()
        modules = len(sys.modules)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(on_loop_error)
        loop.set_task_factory(new_task)

    def after_cell(outcome):
        deadline = time.monotonic() + settle
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        gc.collect()  # a dropped task or future speaks up when it is collected
        if len(sys.modules) > modules + many:
            gc.freeze()
        for task in list(tasks):
            if task.done() and not task.cancelled() and task._log_traceback:
                note("task", task.exception())
        for future in list(futures):
            note("future", future.exception())
        errors, unseen[:] = list(unseen), []
        if errors and outcome.error_before_exec is None and outcome.error_in_exec is None:
            outcome.error_in_exec = error = UnseenError(errors)
            show_traceback((UnseenError, error, None))

    class UnseenError(Exception):
        def __init__(self, errors):
            super().__init__("; ".join(f"{where}: {error!r}" for where, error in errors))
            self.__cause__ = errors[0][1]

    shell.events.register("pre_run_cell", before_cell)
    shell.events.register("post_run_cell", after_cell)


_install(get_ipython())  # noqa: F821
del _install

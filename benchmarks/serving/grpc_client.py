"""A closed loop of gRPC calls with messages that were made beforehand, in a process of its own.

    python -m benchmarks.serving.grpc_client PORT METHOD CONCURRENCY SECONDS < messages

Reads from standard input the messages as `length newline bytes`. Each of CONCURRENCY threads has a connection of its
own and sends its next message when it has its answer. Prints JSON as `client.c` does: a status of HTTP, and seconds,
for each answer.
"""

from __future__ import annotations

import json
import sys
import threading
import time

import grpc


def main() -> None:
    port, method, concurrency, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    messages = []
    while line := sys.stdin.buffer.readline():
        messages.append(sys.stdin.buffer.read(int(line)))
    answers: list[tuple[int, float]] = []
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    calls = []
    for _ in range(concurrency):
        channel = grpc.insecure_channel(f"127.0.0.1:{port}", options)
        grpc.channel_ready_future(channel).result(30)
        calls.append(channel.unary_unary(method))
    began, busy = time.perf_counter(), time.process_time()

    def work(number: int) -> None:
        turn = number
        while (started := time.perf_counter()) < began + seconds:
            try:
                calls[number](messages[turn % len(messages)])
                status = 200
            except grpc.RpcError as exc:
                status = 429 if exc.code() is grpc.StatusCode.RESOURCE_EXHAUSTED else 500
            answers.append((status, time.perf_counter() - started))
            turn += concurrency

    threads = [threading.Thread(target=work, args=(number,)) for number in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    measured = {"answers": answers, "seconds": time.perf_counter() - began, "unsent": 0, "unanswered": 0}
    json.dump({**measured, "cpu": time.process_time() - busy}, sys.stdout)


if __name__ == "__main__":
    main()

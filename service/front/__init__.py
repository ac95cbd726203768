"""HTTP/1.1 in front of the application: connections, bytes and time are bounded here, before a thread is taken.

One asyncio loop reads and writes (`connection`). Plain requests are understood at once (`plain`), others by h11's
strict parser (`wire`). A request that may be worked on goes to a thread that calls the application (`wsgi`); the others
are answered by the loop itself.
"""

/* A light client, so that what it takes of the cores is not counted as the server's: one thread, epoll, raw sockets,
 * requests that were made beforehand.
 *
 *     client PORT CONNECTIONS SECONDS RATE < requests
 *
 * Reads from standard input the requests as `length newline bytes`, and sends them to 127.0.0.1. RATE 0: closed loop,
 * each connection sends its next request when it has its answer. Else open loop: so many requests a second whatever
 * comes back; one that finds no connection free waits for it, and its time counts from the moment when it was due.
 * After SECONDS there are 30 more for what was due before, and its answers. Prints JSON: how long each answer took, by
 * status (0: the connection broke), how many requests were due and never sent, how many sent and never answered, and
 * the processor time of the client.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD = 16384 };

struct request { char *bytes; long size; };
struct answer { int status; double seconds; };
struct connection {
    int socket, busy, status, closes, watches_writing;
    long sent, head_size, body_left;
    double due;
    const struct request *request;
    char head[HEAD];
};

static struct request *requests;
static long request_count, turn;
static struct answer *answers;
static long answer_count, answer_room;
static int poll_fd, port;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void note(int status, double seconds) {
    if (answer_count == answer_room) {
        answer_room = answer_room ? 2 * answer_room : 65536;
        answers = realloc(answers, answer_room * sizeof *answers);
        if (!answers) fail("realloc");
    }
    answers[answer_count++] = (struct answer){status, seconds};
}

static void watch(struct connection *c, int writing, int how) {
    struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(poll_fd, how, c->socket, &event)) fail("epoll_ctl");
    c->watches_writing = writing;
}

static void connect_one(struct connection *c) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->socket = socket(AF_INET, SOCK_STREAM, 0);
    if (c->socket < 0 || connect(c->socket, (struct sockaddr *)&address, sizeof address)) fail("connect");
    int one = 1;
    setsockopt(c->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    watch(c, 0, EPOLL_CTL_ADD);
}

static void finish(struct connection *c, int status, int closes) {
    note(status, now() - c->due);
    c->busy = 0;
    c->head_size = 0;
    if (closes) {
        close(c->socket);
        connect_one(c);
    }
}

static void send_more(struct connection *c) {
    while (c->sent < c->request->size) {
        long count = send(c->socket, c->request->bytes + c->sent, c->request->size - c->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count < 0 && errno == EAGAIN) {
            if (!c->watches_writing) watch(c, 1, EPOLL_CTL_MOD);
            return;
        }
        if (count < 0) return; /* the answer may still be read */
        c->sent += count;
    }
    if (c->watches_writing) watch(c, 0, EPOLL_CTL_MOD);
}

static void begin(struct connection *c, double due) {
    c->request = &requests[turn++ % request_count];
    c->sent = c->head_size = c->body_left = 0;
    c->status = c->closes = 0;
    c->busy = 1;
    c->due = due;
    send_more(c);
}

/* Whether the answer is complete: its header is kept, its body thrown away. */
static int received(struct connection *c) {
    static char body[1 << 16];
    if (!c->status) {
        long count = recv(c->socket, c->head + c->head_size, HEAD - 1 - c->head_size, MSG_DONTWAIT);
        if (count < 0 && errno == EAGAIN) return 0;
        if (count <= 0) return -1;
        c->head_size += count;
        c->head[c->head_size] = 0;
        char *end = strstr(c->head, "\r\n\r\n");
        if (!end) return 0;
        *end = 0;
        char *length = strcasestr(c->head, "\ncontent-length:");
        if (!length) return -1;
        c->status = atoi(c->head + 9);
        c->closes = strcasestr(c->head, "\nconnection: close") != NULL;
        c->body_left = atol(length + 16) - (c->head_size - (end + 4 - c->head));
    }
    while (c->body_left > 0) {
        long count = recv(c->socket, body, c->body_left < (long)sizeof body ? c->body_left : (long)sizeof body, MSG_DONTWAIT);
        if (count < 0 && errno == EAGAIN) return 0;
        if (count <= 0) return -1;
        c->body_left -= count;
    }
    return c->sent == c->request->size || c->closes;
}

static void read_requests(void) {
    long size;
    while (scanf("%ld", &size) == 1) {
        getchar();
        requests = realloc(requests, (request_count + 1) * sizeof *requests);
        char *bytes = malloc(size);
        if (!requests || !bytes || fread(bytes, 1, size, stdin) != (size_t)size) fail("requests");
        requests[request_count++] = (struct request){bytes, size};
    }
    if (!request_count) exit(1);
}

int main(int count, char **texts) {
    if (count != 5) return 2;
    port = atoi(texts[1]);
    int connections = atoi(texts[2]);
    double seconds = atof(texts[3]), rate = atof(texts[4]);
    read_requests();
    poll_fd = epoll_create1(0);
    struct connection *all = calloc(connections, sizeof *all), **idle = calloc(connections, sizeof *idle);
    if (poll_fd < 0 || !all || !idle) fail("start");
    int idle_count = 0;
    for (int i = 0; i < connections; i++) {
        connect_one(&all[i]);
        idle[idle_count++] = &all[i];
    }
    struct epoll_event events[256];
    double started = now(), end = started + seconds;
    long due = 0, all_due = rate == 0 ? LONG_MAX : (long)ceil(seconds * rate);
    for (;;) {
        double moment = now();
        /* In an open loop the clock may have passed the end while this slept: what was due before is sent still. */
        while (idle_count && (rate == 0 ? moment < end : due < all_due && started + due / rate <= moment)) {
            begin(idle[--idle_count], rate == 0 ? moment : started + due / rate);
            due++;
        }
        if (moment >= end && (idle_count == connections || moment >= end + 30)) break;
        double until = rate == 0 || !idle_count || moment >= end ? 0.1 : started + due / rate - moment;
        struct timespec patience = {0, until < 0 ? 0 : (until > 0.1 ? 0.1 : until) * 1e9};
        int ready = epoll_pwait2(poll_fd, events, 256, &patience, NULL);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->busy && events[i].events & EPOLLOUT) send_more(c);
            int done = c->busy ? received(c) : -1;
            if (c->busy && done) {
                finish(c, done < 0 ? 0 : c->status, done < 0 || c->closes);
                idle[idle_count++] = c;
            } else if (!c->busy && events[i].events & (EPOLLIN | EPOLLHUP)) {
                close(c->socket); /* the server has ended a connection that waited */
                connect_one(c);
            }
        }
    }
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu = used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
    long unsent = rate == 0 ? 0 : all_due - due, unanswered = connections - idle_count;
    printf("{\"seconds\": %.6f, \"cpu\": %.6f, \"unsent\": %ld, \"unanswered\": %ld, \"answers\": [",
           now() - started, cpu, unsent, unanswered);
    for (long i = 0; i < answer_count; i++)
        printf("%s[%d, %.6f]", i ? ", " : "", answers[i].status, answers[i].seconds);
    printf("]}\n");
    return 0;
}

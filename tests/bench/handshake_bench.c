/*
 * What a TLS handshake costs a server, full and resumed, beside a bare loop of OpenSSL with the same certificate and
 * settings: processor time of either process, in turns, one client after the other.
 *
 *     handshake_bench --json PORT PID CERTIFICATE KEY [HANDSHAKES [ROUNDS]]
 *
 * PORT and PID are the server's; the files are PEM. A JSON object a line.
 */
#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS_MAX = 64, SECONDS = 20 /* that a client waits for anything */ };

struct side {
    int port;
    clockid_t clock; /* of its process */
    SSL_SESSION *session;
    double us[ROUNDS_MAX];
};

static void must(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "handshake_bench: %s failed\n", what);
    exit(1);
}

static double clock_us(clockid_t clock)
{
    struct timespec t;
    must(clock_gettime(clock, &t) == 0, "reading a process's clock");
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* --- The yardstick ------------------------------------------------------------------------------------------------ */

static void bare(int listening, const char *certificate, const char *key)
{
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());
    char byte;
    must(c && SSL_CTX_use_certificate_chain_file(c, certificate) == 1 &&
             SSL_CTX_use_PrivateKey_file(c, key, SSL_FILETYPE_PEM) == 1 &&
             SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) == 1 &&
             SSL_CTX_set_session_id_context(c, (const unsigned char *)"bare", 4) == 1 &&
             SSL_CTX_set_num_tickets(c, 1) == 1,
         "a context");
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION);
    for (;;) {
        int fd = accept(listening, NULL, NULL);
        SSL *s = fd < 0 ? NULL : SSL_new(c);
        if (s && SSL_set_fd(s, fd) == 1 && SSL_accept(s) == 1)
            (void)SSL_read(s, &byte, 1); /* until the client goes */
        SSL_free(s);
        close(fd);
    }
}

static pid_t start_bare(struct side *side, const char *certificate, const char *key)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    must(fd >= 0 && bind(fd, (struct sockaddr *)&a, n) == 0 && listen(fd, 128) == 0 &&
             getsockname(fd, (struct sockaddr *)&a, &n) == 0,
         "listening");
    side->port = ntohs(a.sin_port);
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        bare(fd, certificate, key);
    }
    close(fd);
    return pid;
}

/* --- Clients ------------------------------------------------------------------------------------------------------ */

static SSL_SESSION *got; /* the ticket of the handshake that is under way */

static int on_session(SSL *s, SSL_SESSION *session)
{
    (void)s;
    SSL_SESSION_free(got);
    got = session;
    return 1;
}

static SSL_CTX *client_context(int version)
{
    SSL_CTX *c = SSL_CTX_new(TLS_client_method());
    must(c && SSL_CTX_set_max_proto_version(c, version) == 1, "a client's context");
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(c, on_session);
    SSL_CTX_clear_mode(c, SSL_MODE_AUTO_RETRY); /* a read returns when a ticket has come */
    return c;
}

/* One handshake, until its ticket is here. */
static void shake(SSL_CTX *c, struct side *side, SSL_SESSION *session)
{
    const struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)side->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval patience = {.tv_sec = SECONDS};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char byte;
    must(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
             connect(fd, (const struct sockaddr *)&a, sizeof a) == 0,
         "connecting");
    SSL *s = SSL_new(c);
    must(s && SSL_set_fd(s, fd) == 1 && (!session || SSL_set_session(s, session) == 1), "a client");
    SSL_SESSION_free(got);
    got = NULL;
    must(SSL_connect(s) == 1, "a handshake");
    if (!got && !(session && SSL_version(s) == TLS1_2_VERSION))
        (void)SSL_read(s, &byte, 1);
    must(SSL_session_reused(s) == (session != NULL), session ? "resuming" : "a full handshake");
    must(got || session, "getting a ticket");
    SSL_set_shutdown(s, SSL_SENT_SHUTDOWN); /* or OpenSSL holds the session for spoilt */
    SSL_free(s);
    close(fd);
}

static void rounds(SSL_CTX *c, struct side *side, int round, int count, bool resume)
{
    if (resume && !side->session) {
        shake(c, side, NULL);
        side->session = got;
        got = NULL;
    }
    double start = clock_us(side->clock);
    for (int i = 0; i < count; i++) {
        SSL_SESSION *session = resume ? SSL_SESSION_dup(side->session) : NULL; /* OpenSSL takes one only once */
        shake(c, side, session);
        SSL_SESSION_free(session);
    }
    side->us[round] = (clock_us(side->clock) - start) / count;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *us, int n)
{
    qsort(us, (size_t)n, sizeof *us, compare);
    return us[n / 2];
}

int main(int argc, char **argv)
{
    static const struct {
        int version;
        const char *name;
    } versions[] = {{TLS1_3_VERSION, "1.3"}, {TLS1_2_VERSION, "1.2"}};
    struct side server = {.port = argc > 2 ? atoi(argv[2]) : 0}, yardstick = {.port = 0};
    int count = argc > 6 ? atoi(argv[6]) : 400, n = argc > 7 ? atoi(argv[7]) : 5;
    if (argc < 6 || argc > 8 || strcmp(argv[1], "--json") != 0 || server.port <= 0 || count < 1 || n < 1 ||
        n > ROUNDS_MAX) {
        fprintf(stderr, "usage: handshake_bench --json PORT PID CERTIFICATE KEY [HANDSHAKES [ROUNDS]]\n");
        return 2;
    }
    must(clock_getcpuclockid(atoi(argv[3]), &server.clock) == 0, "finding the server's process");
    pid_t child = start_bare(&yardstick, argv[4], argv[5]);
    must(clock_getcpuclockid(child, &yardstick.clock) == 0, "finding the yardstick's process");
    for (unsigned v = 0; v < sizeof versions / sizeof *versions; v++) {
        SSL_CTX *c = client_context(versions[v].version);
        for (int resume = 0; resume < 2; resume++) {
            for (int round = 0; round < n; round++) {
                rounds(c, &yardstick, round, count, resume);
                rounds(c, &server, round, count, resume);
            }
            printf("{\"version\": \"%s\", \"what\": \"%s\", \"us\": %.1f, \"bare_us\": %.1f}\n", versions[v].name,
                   resume ? "resumed" : "full", median(server.us, n), median(yardstick.us, n));
        }
        SSL_SESSION_free(server.session);
        SSL_SESSION_free(yardstick.session);
        server.session = yardstick.session = NULL;
        SSL_CTX_free(c);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return 0;
}

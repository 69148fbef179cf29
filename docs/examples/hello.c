/*
 * A program that logs in, says one thing in a channel and shows what others say there, by libmagpie-client:
 *
 *     cc -o hello hello.c $(pkg-config --cflags --libs magpie-client)
 *     ./hello localhost:8081 lobby "hello from C"
 *
 * It ends when somebody says "bye", and with status 1 when something goes wrong.
 */
#include <magpie_client.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct hello {
    const char *channel, *text; /* from the command line */
    int failed;                 /* the exit status */
};

/* Whether an answer is one; what else it is, is told. */
static bool good(struct hello *h, int status, struct magpie_json body)
{
    struct magpie_refusal refusal;
    if (status == 0)
        return true;
    magpie_refusal_read(body, &refusal);
    fprintf(stderr, "hello: %s\n", refusal.message[0] ? refusal.message : magpie_error_text(status));
    h->failed = 1;
    return false;
}

static void on_sent(struct magpie_conn *conn, void *arg, int status, struct magpie_json body)
{
    int64_t seq = 0;
    if (!good(arg, status, body))
        magpie_conn_close(conn);
    else if (magpie_json_int(magpie_json_get(body, "seq"), &seq) == 0)
        printf("it is message %lld\n", (long long)seq);
}

static void on_subscribed(struct magpie_conn *conn, void *arg, int status, struct magpie_json body)
{
    struct hello *h = arg;
    if (!good(h, status, body) || magpie_send_channel(conn, h->channel, h->text, NULL, on_sent, h) != 0)
        magpie_conn_close(conn);
}

static void on_login(struct magpie_conn *conn, void *arg, int status, struct magpie_json body)
{
    struct hello *h = arg;
    if (!good(h, status, body) || magpie_subscribe(conn, h->channel, NULL, true, on_subscribed, h) != 0)
        magpie_conn_close(conn);
}

static void on_open(struct magpie_conn *conn, void *user)
{
    magpie_login(conn, "hello", NULL, NULL, false, on_login, user);
}

static void on_push(struct magpie_conn *conn, void *user, uint16_t action, struct magpie_json body)
{
    struct magpie_push *push = magpie_push_read(body);
    bool bye = false;
    (void)user;
    if (!push)
        return;
    if (action == MAGPIE_PUSH_CHANNEL) {
        printf("%s: %s\n", push->sender_name, push->content);
        bye = strcmp(push->content, "bye") == 0;
    } else if (action == MAGPIE_PUSH_EDITED) {
        printf("message %llu is now: %s\n", (unsigned long long)push->seq, push->content);
    } else if (action == MAGPIE_PUSH_MEMBERSHIP) {
        printf("%s has %s\n", push->name, push->change);
    }
    fflush(stdout);
    magpie_push_free(push);
    if (bye)
        magpie_conn_close(conn);
}

static void on_close(struct magpie_conn *conn, void *user, int code, const char *why)
{
    struct hello *h = user;
    (void)conn, (void)code;
    fprintf(stderr, "hello: %s\n", why);
    h->failed = 1;
}

static const struct magpie_handlers handlers = {on_open, on_push, on_close};

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: hello ADDRESS CHANNEL TEXT\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN); /* which TLS may raise */
    struct hello h = {argv[2], argv[3], 0};
    const char *why = "out of memory";
    struct magpie_client *client = magpie_client_new();
    if (!client || !magpie_connect(client, argv[1], &handlers, &h, &why)) {
        fprintf(stderr, "hello: %s: %s\n", argv[1], why);
        h.failed = 1;
    }
    while (client && magpie_client_count(client) > 0)
        magpie_client_run(client, -1);
    magpie_client_free(client);
    return h.failed;
}

/*
 * The bare client of redis_bench.c: it sends ready-made commands, in groups with a WAIT behind them, and counts the
 * replies. The commands are made beforehand by the engine's own code, taken out of its queues. Included there alone.
 */
#ifndef MAGPIE_BENCH_REDIS_BARE_H
#define MAGPIE_BENCH_REDIS_BARE_H

static void bare_connect(struct bare *m)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(m->port)};
    int one = 1;
    m->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (inet_pton(AF_INET, m->host, &a.sin_addr) != 1 || connect(m->fd, (struct sockaddr *)&a, sizeof a))
        die("the bare client cannot connect");
    setsockopt(m->fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof one);
    if (resp_init(&m->in))
        die("out of memory");
}

/* --- Commands ------------------------------------------------------------------------------------------------- */

/* Of the bare client's own pairs: whose messages of the one to the other are counted here, since nobody reads replies.
 */
static struct store_append bare_message(struct bench *b, char client[24])
{
    uint64_t n = b->counter++;
    unsigned i = (unsigned)(n * 7919 % CHANNELS);
    snprintf(client, 24, "b%llu", (unsigned long long)n);
    struct store_append a = {.conv = conv_key_slice(&b->conv[i]),
                             .tier = TIER_SMALL,
                             .sender = SLICE_LIT("maker"),
                             .sender_name = SLICE_LIT("The Maker"),
                             .content = slice_of(b->text, CONTENT),
                             .client_id = slice_str(client)};
    if (b->private) {
        a.conv = conv_key_slice(&b->bare_pair[i].conv);
        a.tier = TIER_DM;
        a.sender = slice_str(b->bare_pair[i].sender);
        a.receiver = slice_str(b->bare_pair[i].receiver);
    }
    return a;
}

/* Which master each partition has: as the engine knows it by now. */
static struct bare *bare_of(struct bench *b, unsigned part)
{
    const struct master *m = redis_of(b->store)->parts[part].master; /* which stands still by now */
    for (unsigned i = 0; i < b->bare_n; i++)
        if (b->bare[i].port == m->port && strcmp(b->bare[i].host, m->host) == 0)
            return &b->bare[i];
    if (b->bare_n == MASTERS)
        die("too many masters");
    struct bare *n = &b->bare[b->bare_n++];
    *n = (struct bare){.port = m->port};
    memcpy(n->host, m->host, sizeof n->host);
    n->commands = calloc(READY, sizeof *n->commands);
    bare_connect(n);
    return n;
}

/* What the maker has posted to a partition becomes the next commands of its master. */
static void commands_take(struct bench *b, unsigned part, bool settles)
{
    struct redis *r = b->maker;
    struct call *c;
    while (r->parts[part].queue[LANE_WRITE].first && (c = queue_pull(r, (uint16_t)part, LANE_WRITE))) {
        struct bare *m = bare_of(b, part);
        if (m->n == READY)
            die("too many commands");
        call_write(r, c, &m->commands[m->n++]);
        if (settles)
            call_end(r, c, STORE_OK);
        else
            call_drop(r, c);
    }
}

/* Its second halves, and now and then what settles many. The id is known, for nobody else writes to that partition
 * meanwhile: it is the smallest that the message may get. */
static void make_halves(struct bench *b, const struct store_append *a, const struct appending *w)
{
    struct halves h = {.message = a};
    unsigned part = w->call.part;
    uint64_t k = ++b->bare_pair[b->bare_at].sent;
    uint64_t id = (w->place >> 12) << 22 | (uint64_t)part << 12 | (w->place & 4095);
    struct layout_intent intent = {
        .birth_ms = w->now, .seq = k, .k = k, .sender = a->sender, .receiver = a->receiver, .conv = a->conv};
    char field[9] = {'p'};
    halves_run(b->maker, &h, id, &intent);
    commands_take(b, h.put.part, false);
    commands_take(b, h.sent.part, false);
    store_be64(field + 1, id);
    settle_later(b->maker, part, slice_of(field, sizeof field), 0);
    commands_take(b, part, true);
}

static void make_commands(struct bench *b)
{
    char client[24];
    b->bare_at = (unsigned)(b->counter * 7919 % CHANNELS);
    struct store_append a = bare_message(b, client);
    struct appending w = {.paired = true};
    struct task t = {.op = &a.op, .own = &w};
    append_post(b->maker, &t);
    commands_take(b, w.call.part, false);
    if (b->private)
        make_halves(b, &a, &w);
}

static void bare_forget(struct bare *m)
{
    for (unsigned i = 0; i < m->n; i++)
        buf_free(&m->commands[i]);
    m->n = m->next = 0;
}

static void bare_prepare(struct bench *b, unsigned count)
{
    for (unsigned i = 0; i < b->bare_n; i++)
        bare_forget(&b->bare[i]);
    for (unsigned i = 0; i < count; i++)
        make_commands(b);
    settle_flush(b->maker);
    for (unsigned part = 0; part < PARTITIONS; part++)
        commands_take(b, part, true);
}

/* --- Sending ---------------------------------------------------------------------------------------------------- */

static void bare_send(struct bare *m, unsigned most, unsigned copies)
{
    struct buf out = BUF_INIT;
    unsigned n = 0;
    for (; n < most && m->next < m->n; n++, m->next++)
        buf_slice_put(&out, buf_slice(&m->commands[m->next]));
    buf_printf(&out, "*3\r\n$4\r\nWAIT\r\n$1\r\n%u\r\n$2\r\n50\r\n", copies);
    for (size_t sent = 0; sent < out.n;) {
        ssize_t k = send(m->fd, out.p + sent, out.n - sent, MSG_NOSIGNAL);
        if (k < 0)
            die("the bare client cannot send");
        sent += (size_t)k;
    }
    m->awaited = n + 1;
    buf_free(&out);
}

/* Takes what has come; returns how many messages were done. */
static unsigned bare_receive(struct bare *m)
{
    static char input[1 << 16];
    const struct reply *r;
    unsigned n = 0;
    ssize_t k = recv(m->fd, input, sizeof input, 0);
    if (k <= 0 || resp_feed(&m->in, input, (size_t)k))
        die("the bare client was cut off");
    while (resp_next(&m->in, &r) == 1) {
        m->awaited--;
        if (r->type == REPLY_ERROR || (r->type == REPLY_STRING && *r->text.p != 'N')) {
            fprintf(stderr, "redis_bench: Redis said: %.*s\n", r->type == REPLY_ERROR ? (int)r->text.n : 1, r->text.p);
            die("the bare client's message was refused");
        }
        n += r->type == REPLY_STRING;
        resp_forget(&m->in);
    }
    return n;
}

/* All of them, or as many as go in the time. */
static struct figures bare_append(struct bench *b)
{
    struct pollfd fds[MASTERS];
    struct figures f = {0};
    uint64_t done = 0;
    unsigned count = b->private ? READY_PRIVATE : READY;
    bare_prepare(b, count);
    struct spent spent = spent_now(b);
    double begun = now_s(), cpu = cpu_of(pthread_self());
    for (unsigned i = 0; i < b->bare_n; i++)
        bare_send(&b->bare[i], BARE_GROUP, 2);
    bool more = true;
    while (more) {
        unsigned n = 0;
        more = false;
        for (unsigned i = 0; i < b->bare_n; i++)
            if (b->bare[i].awaited)
                fds[n++] = (struct pollfd){.fd = b->bare[i].fd, .events = POLLIN};
        poll(fds, n, 1000);
        for (unsigned i = 0; i < b->bare_n; i++) {
            struct bare *m = &b->bare[i];
            for (unsigned j = 0; j < n; j++)
                if (fds[j].fd == m->fd && fds[j].revents)
                    done += bare_receive(m);
            /* Private ones are all sent: what was half done the engine would do later. */
            if (!m->awaited && m->next < m->n && (b->private || now_s() < begun + b->seconds))
                bare_send(m, BARE_GROUP, 2);
            more |= m->awaited != 0;
        }
    }
    double took = now_s() - begun;
    if (b->private)
        done = count;
    f.rate = (double)done / took;
    f.cpu_us = (cpu_of(pthread_self()) - cpu) * 1e6 / (double)done;
    spent_since(b, spent, done, &f);
    return f;
}

static double bare_alone(struct bench *b)
{
    double took[ALONE];
    unsigned n = 0;
    bare_prepare(b, ALONE * 2);
    for (unsigned i = 0; i < ALONE; i++) {
        struct bare *m = &b->bare[i % b->bare_n];
        if (m->next == m->n)
            continue;
        double begun = now_s();
        bare_send(m, 1, 2);
        while (m->awaited)
            bare_receive(m);
        took[n++] = (now_s() - begun) * 1e6;
    }
    return median(took, n);
}

/* The rows 1-50 of a channel, as Redis's own command gives them. */
static void bare_page_command(struct bench *b, const struct conv_key *k, struct buf *out)
{
    struct buf key = BUF_INIT;
    unsigned part = partition_of(conv_key_slice(k));
    buf_str(&key, b->options.cluster.prefix);
    buf_lit(&key, "m{");
    buf_slice_put(&key, partition_tag(&b->maker->tags, (uint16_t)part));
    buf_lit(&key, "}:");
    buf_slice_put(&key, conv_key_slice(k));
    resp_open(out, 2 + PAGE + 1);
    resp_put(out, SLICE_LIT("HMGET"));
    resp_put(out, buf_slice(&key));
    resp_put(out, SLICE_LIT("h"));
    for (unsigned i = 1; i <= PAGE; i++)
        resp_put_u64(out, i);
    buf_free(&key);
}

static double bare_page(struct bench *b)
{
    double took[ALONE];
    for (unsigned i = 0; i < ALONE; i++) {
        const struct conv_key *k = &b->conv[i % CHANNELS];
        struct bare *m = bare_of(b, partition_of(conv_key_slice(k)));
        struct buf command = BUF_INIT;
        bare_page_command(b, k, &command);
        bare_forget(m);
        m->commands[m->n++] = command;
        double begun = now_s();
        bare_send(m, 1, 2);
        while (m->awaited)
            bare_receive(m);
        took[i] = (now_s() - begun) * 1e6;
    }
    return median(took, ALONE);
}

#endif

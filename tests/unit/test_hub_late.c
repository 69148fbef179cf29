/* The hub over a store on another machine, as far as a test can make one: its answers are late, come in another order,
 * and some of them fail. */
#include "hub_kit.h"

enum { PEOPLE = 6, ROOMS = 3, SHARDS = 3, STEPS = 400, SEEDS = 20 };

struct crowd {
    struct kit k;
    uint64_t seed;
    const char *id[PEOPLE], *room[ROOMS];
    struct peer *peer[PEOPLE];
    uint8_t room_of[PEOPLE][STEPS + 2]; /* by a request's seq: where it is sent to */
};

static unsigned draw(struct crowd *c, unsigned n)
{
    c->seed = c->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(c->seed >> 33) % n;
}

static void crowd_begin(struct crowd *c, uint64_t seed)
{
    static const char *const stems[] = {"ann", "bob", "cid", "dan", "eve", "fay"};
    kit_begin(&c->k, SHARDS);
    c->seed = seed;
    for (unsigned i = 0; i < ROOMS; i++)
        c->room[i] = kit_channel(&c->k, "room", i);
    for (unsigned i = 0; i < PEOPLE; i++) {
        c->id[i] = kit_id(&c->k, stems[i], i % SHARDS);
        c->peer[i] = peer_login(&c->k, c->id[i], (i / 2) % SHARDS);
        works(peer_ask(c->peer[i], 3, "{\"name\":\"%s\",\"push\":\"all\"}", c->room[i % ROOMS]));
    }
}

/* Sends a request of any kind. */
static void ask(struct crowd *c, unsigned who)
{
    struct peer *p = c->peer[who];
    unsigned where = draw(c, ROOMS), n = draw(c, STEPS);
    const char *room = c->room[where], *id = c->id[draw(c, PEOPLE)];
    c->room_of[who][p->seq + 1] = (uint8_t)where;
    switch (draw(c, 16)) {
    case 0:
    case 1:
        peer_put(p, 3, "{\"name\":\"%s\",\"push\":\"all\"}", room);
        break;
    case 2:
        peer_put(p, 6, "{\"name\":\"%s\"}", room);
        break;
    case 3:
        peer_put(p, 5, "{\"channel\":\"%s\",\"limit\":5}", room);
        break;
    case 4:
        peer_put(p, 7, "{\"limit\":3}");
        break;
    case 5:
        peer_put(p, 10, "{}");
        break;
    case 6:
        peer_put(p, 11, "{\"channel\":\"%s\",\"seq\":%u}", room, n);
        break;
    case 7:
        peer_put(p, 12, "{\"ids\":[\"%s\"]}", id);
        break;
    case 8:
        peer_put(p, 13, "{\"name\":\"%s\"}", room);
        break;
    case 9:
        peer_put(p, 14, "{\"channel\":\"%s\",\"seq\":%u}", room, 1 + n % 20);
        break;
    case 10:
        peer_put(p, 15, "{\"id\":\"%s\",\"blocked\":%s}", id, n % 4 ? "false" : "true");
        break;
    case 11:
    case 12:
        peer_put(p, 2, "{\"receiverId\":\"%s\",\"content\":\"%u\"}", id, n);
        break;
    default:
        peer_put(p, 4, "{\"channel\":\"%s\",\"content\":\"%u\",\"clientId\":\"%u\"}", room, n, n);
        break;
    }
}

static bool all_answered(struct crowd *c)
{
    for (unsigned i = 0; i < PEOPLE; i++) {
        struct peer *p = c->peer[i];
        unsigned answers = 0;
        peer_pull(p);
        assert_false(p->ended);
        for (uint32_t f = 0; f < p->count; f++)
            answers += p->frames[f].seq != 0;
        assert_true(answers <= p->seq);
        if (answers < p->seq)
            return false;
    }
    return true;
}

/* Numbers of one conversation come to nobody twice, nor out of order. */
static void pushes_ascend(struct crowd *c)
{
    for (unsigned i = 0; i < PEOPLE; i++) {
        struct peer *p = c->peer[i];
        uint64_t last[ROOMS + PEOPLE] = {0};
        for (uint32_t f = 0; f < p->count; f++) {
            const char *body = p->frames[f].body;
            char from[96];
            for (unsigned n = 0; n < ROOMS + PEOPLE; n++) {
                bool room = n < ROOMS;
                if (n == ROOMS + i) /* what the user sent itself, by the connection before, to whomever */
                    continue;
                snprintf(from, sizeof from, room ? "\"channel\":\"%s\"" : "\"sender\":{\"id\":\"%s\"",
                         room ? c->room[n] : c->id[n - ROOMS]);
                if (p->frames[f].action != (room ? 102 : 101) || !strstr(body, from))
                    continue;
                if (number(body, "seq") <= last[n])
                    fail_msg("%s after %llu", body, (unsigned long long)last[n]);
                last[n] = number(body, "seq");
            }
        }
    }
}

static void crowd_end(struct crowd *c)
{
    for (unsigned i = 0; i < PEOPLE; i++)
        peer_close(c->peer[i]);
    kit_end(&c->k);
}

/* The numbers that senders were told are those of the history, each of them. */
static void history_is_whole(struct crowd *c)
{
    bool told[ROOMS][PEOPLE * STEPS] = {{false}};
    for (unsigned i = 0; i < PEOPLE; i++) {
        for (uint32_t n = 0; n < c->peer[i]->count; n++) {
            const struct peer_frame *f = &c->peer[i]->frames[n];
            if (f->action == 4 && !strstr(f->body, "\"error\""))
                told[c->room_of[i][f->seq]][number(f->body, "seq")] = true;
        }
    }
    for (unsigned r = 0; r < ROOMS; r++) {
        uint64_t last = number(peer_ask(c->peer[r], 5, "{\"channel\":\"%s\"}", c->room[r]), "last");
        assert_true(last > 0);
        for (uint64_t seq = 1; seq < PEOPLE * STEPS; seq++)
            assert_int_equal(told[r][seq], seq <= last);
    }
}

/* Every request is answered, as it would be by a store at hand, and everything comes in order. */
static void late_and_out_of_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct crowd c;
        crowd_begin(&c, seed);
        gate_store_set(&kit_gate, GATE_HOLD | GATE_LATE, STORE_OK);
        for (int i = 0; i < STEPS; i++) {
            ask(&c, draw(&c, PEOPLE));
            kit_turn(&c.k);
            for (unsigned n = draw(&c, 4); n > 0; n--)
                gate_store_deal(&kit_gate, &c.seed);
        }
        for (uint64_t end = clock_mono_ms() + 20000; !all_answered(&c) && clock_mono_ms() < end;) {
            kit_turn(&c.k);
            if (!gate_store_deal(&kit_gate, &c.seed))
                usleep(50);
        }
        assert_true(all_answered(&c));
        gate_store_open(&kit_gate);
        kit_settle(&c.k);
        for (unsigned i = 0; i < PEOPLE; i++)
            for (uint32_t f = 0; f < c.peer[i]->count; f++)
                if (strstr(c.peer[i]->frames[f].body, "\"internal\"") ||
                    strstr(c.peer[i]->frames[f].body, "\"unavailable\""))
                    fail_msg("seed %llu: %s", (unsigned long long)seed, c.peer[i]->frames[f].body);
        pushes_ascend(&c);
        for (unsigned r = 0; r < ROOMS; r++)
            works(peer_ask(c.peer[r], 3, "{\"name\":\"%s\"}", c.room[r]));
        history_is_whole(&c);
        crowd_end(&c);
    }
}

/* Some requests fail, with every status that there is; some changes were done although they say that they were not.
 * Every request is answered all the same, and the hub forgets nothing that it holds. */
static void late_and_failing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct crowd c;
        crowd_begin(&c, seed);
        gate_store_set(&kit_gate, GATE_HOLD | GATE_LATE, STORE_OK);
        for (int i = 0; i < STEPS; i++) {
            unsigned who = draw(&c, PEOPLE);
            ask(&c, who);
            kit_turn(&c.k);
            for (unsigned n = draw(&c, 4); n > 0; n--) {
                if (gate_store_held(&kit_gate) && draw(&c, 4) == 0) {
                    bool answered = kit_gate.list[0].answered;
                    if (!answered)
                        gate_store_next(&kit_gate, 0, (enum store_status)(STORE_RETRY + draw(&c, STORE_LIMIT)));
                    else if (store_op_rows[kit_gate.list[0].op->kind].writes)
                        gate_store_next(&kit_gate, 0, STORE_UNKNOWN);
                } else {
                    gate_store_deal(&kit_gate, &c.seed);
                }
            }
            if (draw(&c, 20) == 0) { /* somebody goes, whatever is under way, and comes back */
                peer_reset(c.peer[who]);
                c.peer[who] = peer_open(&c.k, draw(&c, SHARDS));
                peer_put(c.peer[who], 1, "{\"token\":\"%s\"}", c.id[who]);
            }
        }
        for (uint64_t end = clock_mono_ms() + 20000; !all_answered(&c) && clock_mono_ms() < end;) {
            kit_turn(&c.k);
            if (!gate_store_deal(&kit_gate, &c.seed))
                usleep(50);
        }
        assert_true(all_answered(&c));
        pushes_ascend(&c);
        crowd_end(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(late_and_out_of_order),
        cmocka_unit_test(late_and_failing),
    };
    return cmocka_run_group_tests_name("late", tests, NULL, NULL);
}

/* Answers of several nodes become one. What cannot be read, or does not fit, is left out. */
#include "core/base/json.h"
#include "core/console/remote.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

/* --- Lists -------------------------------------------------------------------------------------------------------- */

/* The object that begins there, as text; its end in *at. */
static struct slice take_object(const char *p, const char *end, const char **at)
{
    unsigned depth = 0;
    bool string = false;
    const char *from = p;
    for (; p < end; p++)
        if (string && *p == '\\')
            p++;
        else if (*p == '"')
            string = !string;
        else if (!string && (*p == '{' || *p == '['))
            depth++;
        else if (!string && (*p == '}' || *p == ']') && --depth == 0)
            break;
    p = p < end ? p + 1 : end;
    *at = p;
    return slice_of(from, (size_t)(p - from));
}

/* The node in front, of the row and of the handle that it begins with. */
static void put_row(struct buf *out, struct slice row, unsigned node)
{
    static const char handle[] = "{\"connection\":\"";
    size_t n = sizeof handle - 1;
    buf_printf(out, "%s{\"node\":%u", out->n ? "," : "", node);
    if (row.n > n && memcmp(row.p, handle, n) == 0) {
        buf_printf(out, ",\"connection\":\"%u/", node);
        buf_put(out, row.p + n, row.n - n);
        return;
    }
    if (row.n > 2)
        buf_byte(out, ',');
    buf_put(out, row.p + 1, row.n - 1);
}

void merge_rows(struct buf *out, struct slice elements, unsigned node, uint64_t *skip, uint64_t *left)
{
    const char *at = elements.p, *end = elements.n ? elements.p + elements.n : elements.p;
    while (at < end && *left) {
        if (*at != '{') { /* a comma */
            at++;
            continue;
        }
        struct slice row = take_object(at, end, &at);
        if (*skip) {
            --*skip;
        } else {
            put_row(out, row, node);
            --*left;
        }
    }
}

/* --- Objects ------------------------------------------------------------------------------------------------------ */

static struct cJSON *parse(const struct part *p)
{
    const char *why;
    struct cJSON *v = p->came && !p->failed && !p->rows ? json_parse(buf_slice(&p->out), &why) : NULL;
    if (v && !cJSON_IsObject(v)) {
        json_free(v);
        return NULL;
    }
    return v;
}

static void print(struct buf *out, const struct cJSON *v)
{
    char *text = cJSON_PrintUnformatted(v);
    if (text)
        buf_str(out, text);
    else
        out->oom = true;
    cJSON_free(text);
}

static bool named(const char *const *names, const char *name)
{
    for (; names && *names; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return !names;
}

static void add_numbers(struct cJSON *into, const struct cJSON *from, const char *const *names)
{
    struct cJSON *v;
    cJSON_ArrayForEach(v, into)
    {
        const struct cJSON *other = cJSON_GetObjectItemCaseSensitive(from, v->string);
        if (!other || !named(names, v->string))
            continue;
        if (cJSON_IsNumber(v) && cJSON_IsNumber(other))
            cJSON_SetNumberValue(v, v->valuedouble + other->valuedouble);
        else if (cJSON_IsObject(v) && cJSON_IsObject(other))
            add_numbers(v, other, NULL);
    }
}

void merge_unanswered(struct buf *out, const struct part *parts, unsigned n)
{
    unsigned told = 0;
    for (unsigned i = 0; i < n; i++)
        if (!parts[i].came)
            buf_printf(out, "%s%u", told++ ? "," : ",\"unanswered\":[", parts[i].node.number);
    buf_str(out, told ? "]" : "");
}

void silent_put(struct buf *out, const struct silent_nodes *s)
{
    unsigned n = s->n < SILENT_NAMED ? s->n : SILENT_NAMED;
    for (unsigned i = 0; i < n; i++)
        buf_printf(out, "%s%u", i ? "," : ",\"unanswered\":[", s->numbers[i]);
    buf_str(out, n ? "]" : "");
}

/* Of `status`, what differs from node to node; of others, all. */
static void put_node(struct buf *out, const struct part *p, const struct cJSON *v, const char *const *names)
{
    static const char *const also[] = {"state", "version", "uptime", NULL};
    const struct cJSON *m;
    buf_printf(out, "{\"node\":%u,\"host\":", p->node.number);
    buf_json_string(out, slice_str(p->node.host));
    cJSON_ArrayForEach(m, v)
    {
        if (names && !named(names, m->string) && !named(also, m->string))
            continue;
        buf_byte(out, ',');
        buf_json_string(out, slice_str(m->string));
        buf_byte(out, ':');
        print(out, m);
    }
    buf_byte(out, '}');
}

void merge_sum(struct buf *out, const struct part *parts, unsigned n, const char *const *added)
{
    struct buf nodes = BUF_INIT;
    struct cJSON *sum = parse(&parts[0]);
    for (unsigned i = 0; i < n; i++) {
        struct cJSON *v = parse(&parts[i]);
        if (!v)
            continue;
        if (nodes.n)
            buf_byte(&nodes, ',');
        put_node(&nodes, &parts[i], v, added);
        if (i)
            add_numbers(sum, v, added);
        json_free(v);
    }
    if (sum)
        print(out, sum);
    else
        buf_lit(out, "{}");
    if (out->n)
        out->n--; /* the brace: more follows */
    buf_lit(out, ",\"nodes\":[");
    buf_slice_put(out, buf_slice(&nodes));
    buf_byte(out, ']');
    merge_unanswered(out, parts, n);
    buf_byte(out, '}');
    out->oom = out->oom || nodes.oom;
    buf_free(&nodes);
    json_free(sum);
}

/* --- One thing ---------------------------------------------------------------------------------------------------- */

/* A connection's handle with its node. */
static void name_connections(struct cJSON *list, unsigned node)
{
    struct cJSON *v;
    cJSON_ArrayForEach(v, list)
    {
        const struct cJSON *h = cJSON_GetObjectItemCaseSensitive(v, "connection");
        char text[64];
        if (!cJSON_IsString(h))
            continue;
        snprintf(text, sizeof text, "%u/%s", node, h->valuestring);
        cJSON_ReplaceItemInObjectCaseSensitive(v, "connection", cJSON_CreateString(text));
    }
}

/* Connections of another node, and whether there are any; of a channel, how many members are online there. */
static void join(struct cJSON *into, struct cJSON *from, unsigned node)
{
    struct cJSON *to = cJSON_GetObjectItemCaseSensitive(into, "connections"), *v;
    struct cJSON *online = cJSON_GetObjectItemCaseSensitive(into, "online");
    const struct cJSON *other = cJSON_GetObjectItemCaseSensitive(from, "online");
    struct cJSON *list = cJSON_GetObjectItemCaseSensitive(from, "connections");
    if (cJSON_IsNumber(online) && cJSON_IsNumber(other))
        cJSON_SetNumberValue(online, online->valuedouble + other->valuedouble);
    else if (cJSON_IsFalse(online) && cJSON_IsTrue(other))
        cJSON_ReplaceItemInObjectCaseSensitive(into, "online", cJSON_CreateTrue());
    name_connections(list, node);
    while (cJSON_IsArray(to) && cJSON_IsArray(list) && (v = cJSON_DetachItemFromArray(list, 0)) != NULL)
        cJSON_AddItemToArray(to, v);
}

void merge_join(struct buf *out, const struct part *parts, unsigned n)
{
    struct cJSON *all = parse(&parts[0]);
    if (!all) {
        buf_slice_put(out, buf_slice(&parts[0].out));
        return;
    }
    name_connections(cJSON_GetObjectItemCaseSensitive(all, "connections"), parts[0].node.number);
    for (unsigned i = 1; i < n; i++) {
        struct cJSON *v = parse(&parts[i]);
        if (v)
            join(all, v, parts[i].node.number);
        json_free(v);
    }
    print(out, all);
    if (out->n)
        out->n--;
    merge_unanswered(out, parts, n);
    buf_byte(out, '}');
    json_free(all);
}

/* --- The cluster -------------------------------------------------------------------------------------------------- */

/* What a node says of itself beside what is in the table that all have. */
static void put_view(struct cJSON *row, const struct part *p, const struct cJSON *view)
{
    static const char *const own[] = {"swept", "away", "repeats", "unknown"};
    const struct cJSON *state = cJSON_GetObjectItemCaseSensitive(view, "state");
    cJSON_AddItemToObject(row, "leader", cJSON_CreateBool(p->node.leader));
    cJSON_AddItemToObject(
        row, "sees", cJSON_IsString(state) ? cJSON_CreateString(state->valuestring) : cJSON_CreateString("no answer"));
    for (unsigned i = 0; i < sizeof own / sizeof own[0]; i++) {
        const struct cJSON *v = cJSON_GetObjectItemCaseSensitive(view, own[i]);
        cJSON_AddItemToObject(row, own[i], cJSON_IsNumber(v) ? cJSON_CreateNumber(v->valuedouble) : cJSON_CreateNull());
    }
}

static const struct part *part_numbered(const struct part *parts, unsigned n, const struct cJSON *row)
{
    const struct cJSON *number = cJSON_GetObjectItemCaseSensitive(row, "node");
    for (unsigned i = 0; i < n && cJSON_IsNumber(number); i++)
        if (parts[i].node.number == number->valueint)
            return &parts[i];
    return NULL;
}

void merge_views(struct buf *out, const struct part *parts, unsigned n)
{
    struct cJSON *all = parse(&parts[0]), *row;
    cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(all, "nodes"))
    {
        const struct part *p = part_numbered(parts, n, row);
        struct cJSON *view = p ? parse(p) : NULL;
        if (p)
            put_view(row, p, view);
        json_free(view);
    }
    if (!all) {
        buf_slice_put(out, buf_slice(&parts[0].out));
        return;
    }
    print(out, all);
    if (out->n)
        out->n--;
    merge_unanswered(out, parts, n);
    buf_byte(out, '}');
    json_free(all);
}

/* --- Metrics ------------------------------------------------------------------------------------------------------ */

/* Gauges that each node tells of the whole cluster: the greatest stands. What is its own is added up. */
static bool of_all(const char *name)
{
    static const char *const own[] = {"magpie_cluster_partitions_swept", NULL};
    static const char *const whole[] = {"magpie_store_failing", "magpie_store_clock_paused", "magpie_build_info",
                                        "process_start_time_seconds", NULL};
    if (strncmp(name, "magpie_cluster_", 15) == 0)
        return !named(own, name);
    return named(whole, name);
}

static const char *text_of(const struct cJSON *row, const char *key)
{
    const struct cJSON *v = cJSON_GetObjectItemCaseSensitive(row, key);
    return cJSON_IsString(v) ? v->valuestring : "";
}

static struct cJSON *find_series(struct cJSON *list, const struct cJSON *row, struct cJSON *hint)
{
    struct cJSON *v;
    /* They stand in the same order mostly. */
    if (hint && strcmp(text_of(hint, "name"), text_of(row, "name")) == 0 &&
        strcmp(text_of(hint, "labels"), text_of(row, "labels")) == 0)
        return hint;
    cJSON_ArrayForEach(v, list)
    {
        if (strcmp(text_of(v, "name"), text_of(row, "name")) == 0 &&
            strcmp(text_of(v, "labels"), text_of(row, "labels")) == 0)
            return v;
    }
    return NULL;
}

static void add_value(struct cJSON *into, const struct cJSON *from, const char *key, bool greatest)
{
    struct cJSON *a = cJSON_GetObjectItemCaseSensitive(into, key);
    const struct cJSON *b = cJSON_GetObjectItemCaseSensitive(from, key);
    if (!cJSON_IsNumber(a) || !cJSON_IsNumber(b))
        return;
    if (!greatest)
        cJSON_SetNumberValue(a, a->valuedouble + b->valuedouble);
    else if (b->valuedouble > a->valuedouble)
        cJSON_SetNumberValue(a, b->valuedouble);
}

static void add_series(struct cJSON *into, const struct cJSON *from)
{
    struct cJSON *a = cJSON_GetObjectItemCaseSensitive(into, "buckets");
    const struct cJSON *b = cJSON_GetObjectItemCaseSensitive(from, "buckets");
    bool gauge = strcmp(text_of(into, "kind"), "gauge") == 0;
    add_value(into, from, "value", gauge && of_all(text_of(into, "name")));
    add_value(into, from, "sum", false);
    a = a ? a->child : NULL;
    for (b = b ? b->child : NULL; a && b; a = a->next, b = b->next)
        add_value(a, b, "count", false);
}

static struct cJSON *parse_list(const struct part *p)
{
    struct buf b = BUF_INIT;
    const char *why;
    struct cJSON *v = NULL;
    buf_byte(&b, '[');
    buf_slice_put(&b, buf_slice(&p->out));
    buf_byte(&b, ']');
    if (p->came && !p->failed && p->rows && buf_ok(&b))
        v = json_parse(buf_slice(&b), &why);
    buf_free(&b);
    return v;
}

void merge_series(struct buf *out, const struct part *parts, unsigned n)
{
    struct cJSON *all = parse_list(&parts[0]), *v, *next;
    for (unsigned i = 1; i < n; i++) {
        struct cJSON *list = parse_list(&parts[i]), *hint = all ? all->child : NULL;
        for (v = list ? list->child : NULL; all && v; v = next) {
            next = v->next;
            struct cJSON *there = find_series(all, v, hint);
            if (there)
                add_series(there, v);
            else
                cJSON_AddItemToArray(all, cJSON_DetachItemViaPointer(list, v));
            hint = there ? there->next : hint;
        }
        json_free(list);
    }
    cJSON_ArrayForEach(v, all)
    {
        if (out->n)
            buf_byte(out, ',');
        print(out, v);
    }
    json_free(all);
}

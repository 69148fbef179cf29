#include "core/script/read_result.h"

#include "core/script/json_lua.h"

#include <lauxlib.h>
#include <stdio.h>

static void put_text(lua_State *L, const char *field, struct slice text)
{
    lua_pushlstring(L, text.p ? text.p : "", text.n);
    lua_setfield(L, -2, field);
}

static void put_number(lua_State *L, const char *field, uint64_t n)
{
    lua_pushnumber(L, (double)n);
    lua_setfield(L, -2, field);
}

static void push_person(lua_State *L, struct slice id, struct slice name)
{
    lua_createtable(L, 0, 2);
    put_text(L, "id", id);
    put_text(L, "name", name);
}

void read_push_id(lua_State *L, uint64_t id)
{
    char text[24];
    snprintf(text, sizeof text, "%019llu", (unsigned long long)id);
    lua_pushstring(L, text);
}

void read_push_members(struct state *st, lua_State *L, const struct store_members *m)
{
    lua_createtable(L, 0, 2);
    lua_createtable(L, (int)m->n, 0);
    for (uint32_t i = 0; i < m->n; i++) {
        push_person(L, m->people[i].id, m->people[i].name);
        lua_rawseti(L, -2, (int)i + 1);
    }
    json_lua_mark_array(st, L);
    lua_setfield(L, -2, "members");
    if (m->more && m->n)
        put_text(L, "cursor", m->people[m->n - 1].id);
}

static void push_message(lua_State *L, const struct store_message *m)
{
    lua_createtable(L, 0, 7);
    read_push_id(L, m->id);
    lua_setfield(L, -2, "id");
    put_number(L, "seq", m->seq);
    put_number(L, "createdAt", m->created_ms);
    put_text(L, "content", m->content);
    push_person(L, m->sender, m->sender_name);
    lua_setfield(L, -2, "sender");
    if (m->recalled) {
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, "recalled");
    }
    if (m->edited_ms)
        put_number(L, "editedAt", m->edited_ms);
}

void read_push_history(struct state *st, lua_State *L, const struct store_range *r)
{
    lua_createtable(L, 0, 4);
    lua_createtable(L, (int)r->page.n, 0);
    for (uint32_t i = 0; i < r->page.n; i++) {
        push_message(L, &r->page.messages[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    json_lua_mark_array(st, L);
    lua_setfield(L, -2, "messages");
    put_number(L, "first", r->first);
    put_number(L, "last", r->last);
    lua_pushboolean(L, r->more);
    lua_setfield(L, -2, "more");
}

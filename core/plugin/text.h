/* JSON and growing texts. Private to core/plugin. */
#ifndef MAGPIE_PLUGIN_TEXT_H
#define MAGPIE_PLUGIN_TEXT_H

#include "core/plugin/plugin_private.h"

/* A whole JSON object? */
bool json_is_object(struct slice text);
mp_json *text_json_parse(struct mp_str text, const char **why);
void text_json_free(mp_json *v);
const mp_json *text_json_get(const mp_json *object, const char *key);
const mp_json *text_json_at(const mp_json *array, unsigned i);
int text_json_text(const mp_json *object, const char *key, struct mp_str *out);
int text_json_int(const mp_json *object, const char *key, int64_t *out);
int text_json_bool(const mp_json *object, const char *key, bool *out);
struct mp_str text_json_key(const mp_json *object, unsigned i);
bool text_json_string(const mp_json *v, struct mp_str *out);
mp_out *text_out_new(mp_self *p);
void text_out_free(mp_out *o);
void text_out_put(mp_out *o, struct mp_str s);
void text_out_printf(mp_out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_json_put(mp_out *o, const mp_json *v);
void text_out_json(mp_out *o, struct mp_str s);
void text_out_reset(mp_out *o);
struct mp_str text_out_str(const mp_out *o);

#endif

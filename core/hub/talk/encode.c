#include "core/hub/talk/encode.h"

#include "core/hub/talk/walk.h"
#include "storage/conv_key.h"

void encode_id(struct buf *b, uint64_t id)
{
    char text[21];
    text[0] = text[20] = '"';
    for (int i = 19; i > 0; i--, id /= 10)
        text[i] = (char)('0' + id % 10);
    buf_put(b, text, sizeof text);
}

void encode_message(struct buf *b, struct slice conv, const struct store_message *m)
{
    buf_lit(b, "{\"id\":");
    encode_id(b, m->id);
    buf_lit(b, ",\"content\":\"");
    if (!m->recalled)
        buf_json_escape(b, m->content);
    buf_lit(b, "\",\"sender\":{\"id\":\"");
    buf_slice_put(b, m->sender);
    buf_lit(b, "\",\"name\":\"");
    buf_json_escape(b, m->sender_name);
    buf_lit(b, "\"},\"createdAt\":");
    buf_dec(b, m->created_ms);
    if (conv_is_channel(conv)) {
        buf_lit(b, ",\"channel\":\"");
        buf_json_escape(b, conv_channel_name(conv));
    } else {
        buf_lit(b, ",\"receiverId\":\"");
        buf_slice_put(b, conv_pair_peer(conv, m->sender));
    }
    buf_lit(b, "\",\"seq\":");
    buf_dec(b, m->seq);
    if (m->recalled) {
        buf_lit(b, ",\"recalled\":true");
    } else if (m->edited_ms) {
        buf_lit(b, ",\"editedAt\":");
        buf_dec(b, m->edited_ms);
    }
    buf_byte(b, '}');
}

void encode_sent(struct buf *b, uint64_t id, uint64_t seq, uint64_t created_ms)
{
    buf_lit(b, "{\"id\":");
    encode_id(b, id);
    buf_lit(b, ",\"seq\":");
    buf_dec(b, seq);
    buf_lit(b, ",\"createdAt\":");
    buf_dec(b, created_ms);
    buf_byte(b, '}');
}

void encode_conversation(struct buf *b, struct slice conv, struct slice self)
{
    if (conv_is_channel(conv)) {
        buf_lit(b, "\"channel\":");
        buf_json_string(b, conv_channel_name(conv));
    } else {
        buf_lit(b, "\"peerId\":");
        buf_json_string(b, conv_pair_peer(conv, self));
    }
}

void encode_merged(struct buf *b, struct slice channel, struct pub *p, uint32_t first, uint64_t from, uint32_t omitted)
{
    buf_lit(b, "{\"channel\":");
    buf_json_string(b, channel);
    buf_lit(b, ",\"messages\":[");
    for (uint32_t i = first; i < p->count; i++) {
        if (i > first)
            buf_byte(b, ',');
        buf_put(b, pub_data(p) + p->items[i].offset, p->items[i].len);
    }
    buf_lit(b, "],\"from\":");
    buf_dec(b, from);
    buf_lit(b, ",\"to\":");
    buf_dec(b, p->to);
    buf_lit(b, ",\"omitted\":");
    buf_dec(b, omitted);
    buf_byte(b, '}');
}

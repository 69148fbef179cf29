/*
 * What compression saves, and what it costs: a push, what a bundle joins, a merged slice and a page of history, of talk
 * in eight languages, in each form that the server makes of them.
 *
 *     deflate_bench [--json] [--level N]
 *
 * The talk is made of proverbs, of which none comes twice in a slice or page: two languages in a slice, all in a page.
 * Who says them, when and with which ids is made up, always alike.
 */
#include "core/base/buf.h"
#include "core/hub/talk/encode.h"
#include "core/net/deflate.h"
#include "core/net/inflate.h"
#include "storage/conv_key.h"
#include "storage/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PEOPLE = 60, REGULARS = 12, ID = 16, SAMPLES = 40, ROUNDS = 3 };

static const char *const proverbs[] = {
    "A watched pot never boils, but mine did while I was looking for the tea.",
    "Don't count your chickens before they are hatched, says my aunt every spring.",
    "Is anybody coming to the river tonight? Many hands make light work.",
    "The early bird catches the worm; the second mouse gets the cheese :-)",
    "ok, see you at eight then. Better late than never!",
    "You can lead a horse to water, but you can't make it drink. Same with Bob and meetings.",
    "Where there's smoke there's fire, somebody should look at the kitchen",
    "Rome wasn't built in a day, and neither was this branch",
    "lol, the grass is always greener on the other side of the fence",
    "Could you send me yesterday's pictures? A picture is worth a thousand words.",
    "Actions speak louder than words. I'll bring the cake.",
    "All that glitters is not gold, the blue one was much cheaper",
    "Wer andern eine Grube gräbt, fällt selbst hinein.",
    "Morgenstund hat Gold im Mund, aber ich schlafe lieber noch ein bisschen",
    "Übung macht den Meister! Heute Abend wieder um sieben?",
    "Kommt Zeit, kommt Rat. Ich frage morgen noch einmal nach.",
    "Lügen haben kurze Beine, das weiß doch jeder",
    "Was der Bauer nicht kennt, das frisst er nicht; die Suppe war übrigens hervorragend",
    "Der Apfel fällt nicht weit vom Stamm 😀",
    "Stille Wasser sind tief. Hat jemand den Schlüssel gesehen?",
    "Viele Köche verderben den Brei, also kocht heute nur einer",
    "Aller Anfang ist schwer, beim zweiten Mal geht es schneller",
    "Wie man in den Wald hineinruft, so schallt es heraus.",
    "Ende gut, alles gut: der Zug kam doch noch",
    "Qui vole un œuf vole un bœuf.",
    "Après la pluie, le beau temps ; on se retrouve au marché ?",
    "L'appétit vient en mangeant, disait ma grand-mère",
    "Petit à petit, l'oiseau fait son nid. J'ai fini la première page",
    "Mieux vaut tard que jamais, j'arrive dans dix minutes",
    "Il ne faut pas vendre la peau de l'ours avant de l'avoir tué",
    "Tout est bien qui finit bien, merci à tous pour hier soir !",
    "Chat échaudé craint l'eau froide, je sauvegarde maintenant tous les jours",
    "À bon chat, bon rat. Qui a pris mon parapluie ?",
    "Pierre qui roule n'amasse pas mousse",
    "Les murs ont des oreilles, parlons-en demain",
    "Il n'y a pas de fumée sans feu, vérifiez le four s'il vous plaît",
    "Más vale pájaro en mano que ciento volando.",
    "A quien madruga, Dios le ayuda. Yo salgo a las cinco y media",
    "En boca cerrada no entran moscas, pero cuéntame qué pasó",
    "No por mucho madrugar amanece más temprano",
    "Camarón que se duerme se lo lleva la corriente, ¡despierta!",
    "Ojos que no ven, corazón que no siente. ¿Quién rompió la taza?",
    "Dime con quién andas y te diré quién eres",
    "El que mucho abarca poco aprieta; dejemos algo para mañana",
    "Perro ladrador, poco mordedor. Nos vemos en la plaza",
    "Cría cuervos y te sacarán los ojos",
    "A caballo regalado no se le mira el diente, gracias por la bicicleta",
    "Donde fueres, haz lo que vieres",
    "Тише едешь — дальше будешь.",
    "Не имей сто рублей, а имей сто друзей. Кто сегодня идёт в кино?",
    "Семь раз отмерь, один раз отрежь; я проверю ещё раз вечером",
    "Без труда не вытащишь и рыбку из пруда",
    "В гостях хорошо, а дома лучше. Уже еду обратно",
    "Слово не воробей: вылетит — не поймаешь",
    "Первый блин комом, второй уже намного лучше получился",
    "Волков бояться — в лес не ходить",
    "Старый друг лучше новых двух, передай ему привет",
    "Утро вечера мудренее, поговорим завтра",
    "Яблоко от яблони недалеко падает",
    "Дарёному коню в зубы не смотрят, спасибо за велосипед!",
    "千里之行,始于足下。",
    "三个臭皮匠,顶个诸葛亮,今晚一起看看这个问题吧",
    "有朋自远方来,不亦乐乎?明天几点到火车站?",
    "塞翁失马,焉知非福,下次再试一次",
    "活到老,学到老,我刚报名了一门新的课",
    "百闻不如一见,把照片发到群里吧",
    "一寸光阴一寸金,会议就到这里",
    "欲速则不达,慢慢来没关系",
    "近朱者赤,近墨者黑",
    "饭后百步走,活到九十九,谁一起去散步?",
    "猿も木から落ちる。",
    "七転び八起き、明日もう一度やってみます",
    "石の上にも三年、続けることが大事だと思います",
    "花より団子、お昼ご飯は何にしましょうか",
    "井の中の蛙大海を知らず",
    "急がば回れ、電車のほうが早いかもしれません",
    "十人十色だから、みんなの意見を聞きたいです",
    "雨降って地固まる、昨日はありがとうございました",
    "壁に耳あり障子に目あり",
    "早起きは三文の徳、もう駅に着きました",
    "الصبر مفتاح الفرج.",
    "من جد وجد ومن زرع حصد، نلتقي غدا في المكتبة",
    "الوقت كالسيف إن لم تقطعه قطعك",
    "رب أخ لك لم تلده أمك، شكرا على المساعدة",
    "العقل السليم في الجسم السليم، من يأتي معنا إلى النهر؟",
    "خير الكلام ما قل ودل",
    "في التأني السلامة وفي العجلة الندامة، سأراجعها مرة أخرى مساء",
    "الطيور على أشكالها تقع",
    "كل تأخيرة وفيها خيرة، القطار وصل الآن",
    "إذا كان الكلام من فضة فالسكوت من ذهب",
};
enum { PROVERBS = sizeof proverbs / sizeof *proverbs, LANGUAGES = 8 };
/* Where each language begins. */
static const uint32_t begins[LANGUAGES + 1] = {0, 12, 24, 36, 48, 60, 70, 80, PROVERBS};

static uint32_t seed;

static uint32_t chance(uint32_t below)
{
    seed = seed * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)seed * below >> 32);
}

struct talk {
    char ids[PEOPLE][24], names[PEOPLE][16];
    uint32_t order[PROVERBS], count, next; /* what is said here, in this order */
    uint64_t seq, time;
};

static void talk_begin(struct talk *t)
{
    static const char *const names[] = {"Ada", "Bob", "Čeněk", "Dörte", "Elif", "Фёдор", "玲", "はな"};
    for (unsigned i = 0; i < PEOPLE; i++) {
        /* As the server makes them: of the time, here of some year, and of chance. */
        t->ids[i][0] = '6';
        for (unsigned k = 1; k < ID; k++)
            t->ids[i][k] = "0123456789abcdefghjkmnpqrstvwxyz"[chance(32)];
        t->ids[i][ID] = '\0';
        snprintf(t->names[i], sizeof t->names[i], "%s", names[i % 8]);
    }
    t->count = t->next = 0;
    t->seq = 4711;
    t->time = 1764500000000;
}

/* A channel in which two languages are spoken, or all of them. */
static void talk_in(struct talk *t, unsigned first, unsigned second, bool all)
{
    t->count = 0;
    for (unsigned l = 0; l < LANGUAGES; l++)
        for (uint32_t i = begins[l]; (all || l == first || l == second) && i < begins[l + 1]; i++)
            t->order[t->count++] = i;
    t->next = t->count;
}

/* Says the next thing; each is said once before any comes again. */
static void talk_say(struct talk *t, struct buf *b, struct slice channel)
{
    if (t->next == t->count) {
        for (uint32_t i = t->count - 1; i > 0; i--) {
            unsigned k = chance(i + 1), other = t->order[i];
            t->order[i] = t->order[k];
            t->order[k] = other;
        }
        t->next = 0;
    }
    unsigned who = chance(10) < 7 ? chance(REGULARS) : chance(PEOPLE);
    t->time += 200 + chance(20000);
    const struct store_message m = {.id = (t->time - 1577836800000) << 22 | chance(4096),
                                    .seq = t->seq++,
                                    .created_ms = t->time,
                                    .sender = slice_str(t->ids[who]),
                                    .sender_name = slice_str(t->names[who]),
                                    .content = slice_str(proverbs[t->order[t->next++]])};
    encode_message(b, channel, &m);
}

struct item {
    const char *name, *about;
    unsigned messages; /* that are in one body; 0: of a push by itself */
};

static const struct item items[] = {{"push", "one push", 0},
                                    {"bundle", "a slice of 4", 4},
                                    {"slice", "a slice of 20", 20},
                                    {"page", "a page of 50", 50}};

static void body_make(struct talk *t, struct buf *b, const struct item *item, struct slice channel)
{
    buf_reset(b);
    if (!item->messages) {
        talk_say(t, b, channel);
        return;
    }
    buf_lit(b, "{\"messages\":[");
    for (unsigned i = 0; i < item->messages; i++) {
        buf_str(b, i ? "," : "");
        talk_say(t, b, channel);
    }
    buf_printf(b, "],\"first\":1,\"last\":%llu,\"more\":true}", (unsigned long long)t->seq - 1);
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static struct slice pack(struct deflater *d, int form, struct slice body)
{
    if (form == DEFLATE_WINDOWS)
        return deflate_gzip(d, body);
    const struct slice parts[] = {SLICE_LIT("\0\x66\0\0"), body};
    return deflate_message(d, (enum deflate_window)form, parts, 2);
}

/* Mean sizes, and the least mean time of some rounds. */
static void measure(const struct item *item, int form, int level, bool json)
{
    static const char *const forms[] = {"WebSocket", "WebSocket, small window", "gzip"};
    static const char *const keys[] = {"deflate", "narrow", "gzip"};
    struct deflater d = {.threshold = 0};
    struct inflater f = {.z = NULL};
    struct conv_key key = conv_key_channel(SLICE_LIT("general"));
    struct buf body = BUF_INIT;
    double best = 1e9, best_out = 1e9;
    uint64_t plain = 0, packed = 0;
    deflater_configure(&d, 0, level);
    for (int round = 0; round < ROUNDS; round++) {
        struct talk t;
        double us = 0, us_out = 0;
        seed = 1;
        talk_begin(&t);
        plain = packed = 0;
        for (int i = 0; i < SAMPLES; i++) {
            talk_in(&t, (unsigned)i % LANGUAGES, (unsigned)(i + 3) % LANGUAGES, item->messages > 20);
            body_make(&t, &body, item, conv_key_slice(&key));
            double began = now_us();
            struct slice s = pack(&d, form, buf_slice(&body)), out;
            us += now_us() - began;
            plain += body.n;
            packed += s.p ? s.n : body.n;
            began = now_us();
            int rc = !s.p                      ? 0
                     : form == DEFLATE_WINDOWS ? inflate_gzip(&f, s, body.n + 4, &out)
                                               : inflate_message(&f, s, body.n + 4, &out);
            us_out += now_us() - began;
            if (rc != 0)
                exit(1);
        }
        best = us < best ? us : best;
        best_out = us_out < best_out ? us_out : best_out;
    }
    if (json)
        printf("{\"item\": \"%s\", \"about\": \"%s\", \"form\": \"%s\", \"plain\": %.1f, \"packed\": %.1f, \"us\": "
               "%.2f, \"inflate_us\": %.2f}\n",
               item->name, item->about, keys[form], (double)plain / SAMPLES, (double)packed / SAMPLES, best / SAMPLES,
               best_out / SAMPLES);
    else
        printf("%-16s %-26s %8.0f -> %7.0f bytes, %5.1f %% saved, %7.1f us, inflated in %6.1f us\n", item->about,
               forms[form], (double)plain / SAMPLES, (double)packed / SAMPLES,
               100. * (1 - (double)packed / (double)plain), best / SAMPLES, best_out / SAMPLES);
    buf_free(&body);
    deflater_free(&d);
    inflater_free(&f);
}

int main(int argc, char **argv)
{
    bool json = false;
    int level = 6;
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (strcmp(argv[i], "--level") == 0 && i + 1 < argc)
            level = atoi(argv[++i]);
        else
            level = 0;
    if (level < 1 || level > 9) {
        fprintf(stderr, "usage: deflate_bench [--json] [--level 1..9]\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof items / sizeof *items; i++)
        for (int form = 0; form <= DEFLATE_WINDOWS; form++)
            measure(&items[i], form, level, json);
    return 0;
}

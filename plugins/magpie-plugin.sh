#!/bin/sh
# magpie-plugin: compiles a plugin outside Magpie's sources. What stands between @ is filled in by cmake: build/ has the
# script with the header of the sources, an installed one has that of its prefix.
set -eu

include='@include@'
version='@version@'

usage() {
    cat <<'TEXT'
usage: magpie-plugin [-o FILE] SOURCE ... [COMPILER-OPTION ...]

Compiles a plugin of C or C++ sources (.c, .cc, .cpp, .cxx) into one shared object.

  -o FILE      where it goes; default: the first source's name with .so, in this folder
  --version, --help

Everything else is given to the compiler: $CC (default cc), or $CXX (default c++) where a source is C++, with $CPPFLAGS,
$CFLAGS or $CXXFLAGS, $LDFLAGS. The name of the file without .so must be the plugin's own.
TEXT
}

wrong() {
    printf 'magpie-plugin: %s\n' "$1" >&2
    usage >&2
    exit 2
}

case ${1:-} in
--help | -h)
    usage
    exit 0
    ;;
--version)
    printf 'magpie-plugin %s\n' "$version"
    exit 0
    ;;
-o)
    [ $# -ge 2 ] || wrong "-o needs a value"
    out=$2
    shift 2
    ;;
-o?*)
    out=${1#-o}
    shift
    ;;
*) out="" ;;
esac

first=""
cxx=""
for word in "$@"; do
    case $word in
    -o | -o?*) wrong "-o comes first" ;;
    -*) continue ;; # the compiler's
    *.cc | *.cpp | *.cxx) cxx=yes ;;
    *.c) ;;
    *) continue ;; # an object, a library, or an option's value
    esac
    [ -f "$word" ] || {
        printf 'magpie-plugin: there is no file %s\n' "$word" >&2
        exit 1
    }
    first=${first:-$word}
done
[ -n "$first" ] || wrong "no source (.c, .cc, .cpp, .cxx) is named"
[ -n "$out" ] || out=$(basename "${first%.*}").so
name=$(basename "$out" .so)
case $name.so in "$(basename "$out")") ;; *) wrong "-o: expected a file NAME.so, found $out" ;; esac
case $name in *[!A-Za-z0-9_-]* | '') wrong "a plugin's name has letters, digits, _ and -, not: $name" ;; esac

# Those of the environment come behind, so that they win. Whatever is not defined is told now, not at the load.
if [ -n "$cxx" ]; then
    # shellcheck disable=SC2086
    exec ${CXX:-c++} -O2 -g -Wall -Wextra -fPIC -shared -fvisibility=hidden -I "$include" ${CPPFLAGS:-} ${CXXFLAGS:-} \
        -o "$out" "$@" ${LDFLAGS:-} -Wl,-z,relro,-z,now,-z,defs,--require-defined=magpie_plugin
fi
# shellcheck disable=SC2086
exec ${CC:-cc} -std=gnu11 -O2 -g -Wall -Wextra -fPIC -shared -fvisibility=hidden -I "$include" ${CPPFLAGS:-} \
    ${CFLAGS:-} -o "$out" "$@" ${LDFLAGS:-} -Wl,-z,relro,-z,now,-z,defs,--require-defined=magpie_plugin

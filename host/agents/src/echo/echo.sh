#!/bin/sh
# The agent `echo`: says what it is told, word by word, and writes files on request. Plain POSIX sh, so that it runs in any sandbox.
#
# It reads a line for each message: `PAUSE MODE SEGMENT SEGMENT …`. PAUSE is the seconds to wait between words. A segment is a word with the
# whitespace behind it; whitespace, backslashes and NULs inside it are written as \0 and three octal digits, which `printf %b` undoes. So a
# line is split into words by the shell itself, in one pass, and a word is said again without being looked at.
#
# It prints lines: `ready`; `text SEGMENT`; `write NAME CONTENT`, `done` or `failed REASON` for a file; `end` after each message. If MODE is `ask` (and not
# `free`) it reads a line before it writes a file: `allow`, `replace NAME CONTENT` or `deny`.

# Words are not file names, and split at blanks only. Bytes are not characters.
set -f
LC_ALL=C
export LC_ALL

# A pause, a mode, and segments.
say() {
    delay=$1
    shift 2
    [ $# -gt 0 ] || return 0
    if [ "$delay" = 0 ]; then
        # The format is used again for each word: much faster than a loop.
        printf 'text %s\n' "$@"
        return
    fi
    printf 'text %s\n' "$1"
    shift
    for segment in "$@"; do
        # A `sleep` may take whole seconds only.
        sleep "$delay" 2>/dev/null || sleep 1
        printf 'text %s\n' "$segment"
    done
}

# Names that lead out of the workspace are refused; the path to a file is made.
write() {
    case $1 in
    '' | */ | /* | .. | ../* | */.. | */../*)
        echo 'the name must be a path inside the workspace' >&2
        return 1
        ;;
    */*) mkdir -p -- "${1%/*}" || return 1 ;;
    esac
    printf '%b' "$2" >"./$1"
}

# The content is all that follows the whitespace behind the name.
write_command() {
    delay=$1
    mode=$2
    # What follows the first whitespace is cut off: a name has none.
    name=${4%%'\00'*}
    shift 4
    IFS=
    content=$*
    IFS=' '
    printf 'write %s %s\n' "$name" "$content"
    verdict=allow
    if [ "$mode" = ask ]; then
        # Without an answer nobody listens any more.
        IFS= read -r answer || exit 0
        set -- $answer
        verdict=$1
        if [ "$verdict" = replace ]; then
            name=$2
            content=$3
        fi
    fi
    if [ "$verdict" = deny ]; then
        echo 'failed denied'
        say "$delay" "$mode" 'I\0040' 'may\0040' 'not\0040' 'write\0040' "$name."
    elif reason=$(write "$(printf '%b' "$name")" "$content" 2>&1); then
        echo 'done'
        say "$delay" "$mode" 'I\0040' 'wrote\0040' "$name."
    else
        # The reason can have several lines, and this protocol has not.
        IFS='
'
        set -- $reason
        IFS=' '
        printf 'failed %s\n' "$*"
        say "$delay" "$mode" 'I\0040' 'could\0040' 'not\0040' 'write\0040' "$name."
    fi
}

echo ready
IFS=' '
while IFS= read -r line; do
    IFS=' '
    set -- $line
    case $3 in
    'write\00'*) if [ $# -gt 3 ]; then write_command "$@"; else say "$@"; fi ;;
    *) say "$@" ;;
    esac
    echo end
done

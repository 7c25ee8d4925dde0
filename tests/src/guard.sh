# Becomes the command "$@" and keeps a guard beside it that listens on standard input, a pipe of the test process.
# Each line is the name of a signal for the command; `released` ends the guard. When the pipe closes without that, the
# test process is gone, by whatever death: the guard kills the command and removes the folder $1 (none if empty).
exec 3<&0
folder=$1
shift
(
    while read -r order <&3; do
        [ "$order" = released ] && exit
        kill -s "$order" $$
    done
    kill -s KILL $$
    [ -z "$folder" ] && exit
    # What the command had begun to write may still appear.
    for _ in 1 2 3 4 5; do
        rm -rf "$folder" && exit
        sleep 0.2
    done
) >/dev/null 2>&1 &
exec "$@" 3<&- </dev/null

# Completes manage.py in bash and zsh: commands, their actions and options, and the names of
# features, model families and deployments.
#
#     source deploy/completion.bash
#
# Each completion starts manage.py once, which knows them (`manage.py complete`).
if [ -n "${ZSH_VERSION-}" ]; then
    whence compdef >/dev/null || { autoload -Uz compinit && compinit -i; }
    autoload -Uz bashcompinit && bashcompinit
fi

_duo_manage() {
    local IFS=$'\n'
    COMPREPLY=($("${COMP_WORDS[0]}" complete -- "${COMP_WORDS[@]:1:$COMP_CWORD}" 2>/dev/null))
}

complete -o default -F _duo_manage manage.py ./manage.py

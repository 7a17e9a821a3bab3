# Completes the commands of manage.py and their options, in bash and zsh:
#
#     source deploy/completion.bash
#
# Django itself knows them; each completion starts manage.py once.
if [ -n "${ZSH_VERSION-}" ]; then
    autoload -U +X bashcompinit && bashcompinit
fi

_duo_manage() {
    local IFS=$' \n'
    COMPREPLY=($(COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD DJANGO_AUTO_COMPLETE=1 "$1" 2>/dev/null))
}

complete -o default -F _duo_manage manage.py ./manage.py

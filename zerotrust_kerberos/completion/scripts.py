"""The shells' side of completion: collect the words, ask, show the answer."""

from __future__ import annotations

_BASH = r"""# zerotrust: completion for bash 4.3 and later. In ~/.bashrc: source <(zerotrust completion bash)
_zerotrust() {
    local rest=$COMP_LINE word words=() index found=()
    # bash cuts words at = and : too (COMP_WORDBREAKS); what no blank separates is one word.
    for ((index = 0; index <= COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        if ((index == 0)) || [[ $rest == [[:space:]]* ]]; then words+=("$word"); else words[-1]+=$word; fi
        rest=${rest#*"$word"}
    done
    COMPREPLY=()
    mapfile -t found < <("${words[0]/#\~\//$HOME/}" completion bash -- "${words[@]}" 2>/dev/null)
    case ${found[0]} in
        :files) compopt -o default ;;
        :folders) compopt -o dirnames ;;
        :program*)
            for ((index = 0; index < COMP_CWORD; index++)); do
                [[ ${COMP_WORDS[index]} == -- ]] && break
            done
            if declare -F _comp_command_offset >/dev/null; then
                _comp_command_offset $((index + 1))
            elif declare -F _command_offset >/dev/null; then
                _command_offset $((index + 1))
            elif ((COMP_CWORD == index + 1)); then
                mapfile -t COMPREPLY < <(compgen -c -- "${words[-1]}")
            else
                compopt -o default
            fi
            ;;
        *)
            COMPREPLY=("${found[@]%%$'\t'*}")
            # Of --role=x bash replaces what stands behind the = alone.
            [[ ${words[-1]} == *=* && $COMP_WORDBREAKS == *=* ]] && COMPREPLY=("${COMPREPLY[@]#*=}")
            ;;
    esac
}
complete -F _zerotrust zerotrust
"""

_ZSH = r"""#compdef zerotrust
# zerotrust: completion for zsh. In ~/.zshrc: source <(zerotrust completion zsh); or this as _zerotrust in a folder of $fpath.
_zerotrust() {
    local -a found offers
    local line
    found=("${(@f)$("${(Q)words[1]/#\~\//$HOME/}" completion zsh -- "${(@Q)words[1,CURRENT]}" 2>/dev/null)}")
    case $found[1] in
        :files)
            [[ $PREFIX == --*=* ]] && compset -P '*='
            _files
            ;;
        :folders)
            [[ $PREFIX == --*=* ]] && compset -P '*='
            _files -/
            ;;
        :program*)
            local at=${found[1]#:program }
            words=("${(@)words[at,-1]}")
            ((CURRENT -= at - 1))
            _normal
            ;;
        '') return 1 ;;
        *)
            for line in "$found[@]"; do
                # _describe reads text:description.
                offers+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
                [[ $line == *$'\t'* ]] || offers[-1]=${line//:/\\:}
            done
            _describe -V zerotrust offers
            ;;
    esac
}
if [[ $funcstack[1] == _zerotrust ]]; then
    _zerotrust "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
    compdef _zerotrust zerotrust
fi
"""

_FISH = r"""# zerotrust: completion for fish. In ~/.config/fish/config.fish: zerotrust completion fish | source
function __zerotrust_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    set -l found ($program completion fish -- $words "$current" 2>/dev/null)
    switch "$found[1]"
        case ':files'
            __fish_complete_path "$current"
        case ':folders'
            __fish_complete_directories "$current" ''
        case ':program*'
            set -l at (string replace ':program ' '' -- $found[1])
            set -l rest (string escape -- $words[$at..-1])
            complete -C (string join ' ' -- $rest $current)
        case '*'
            string join \n -- $found
    end
end
complete -c zerotrust -f -a '(__zerotrust_complete)'
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}

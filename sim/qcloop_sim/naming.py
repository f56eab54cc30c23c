"""Gives a compiled design the names of all its signals, which a waveform shows.

With ``-g0``, CXXRTL leaves most signals out of its class. With ``-g4`` it keeps a name for each of them. Both
classes have the same ``eval``; ``-g4`` adds ``debug_eval``, which computes the other signals from registers
and inputs when it is called. Here these additions become a class of their own, derived from the one that
simulates. So a design with names simulates as fast as one without, as long as nothing is recorded.
"""

_CLASS, _CLASS_END = "struct p_top : public module {\n", "}; // struct p_top"
_EVALUATION = "void p_top::debug_eval() {\n"
_NAMES = "CXXRTL_EXTREMELY_COLD\nvoid p_top::debug_info("
_FUNCTION_END = "\n}\n"
_OUTLINE = "/*outline*/"
#: The derived class. To compile its functions with optimisation takes minutes.
_NAMED = """
namespace cxxrtl_design {{

struct p_named final : public p_top {{
{members}
    void debug_eval();
    debug_outline debug_eval_outline {{ std::bind(&p_named::debug_eval, this) }};
    void debug_info(debug_items *, debug_scopes *, std::string, metadata_map && = {{}}) override;
}};

CXXRTL_EXTREMELY_COLD
{evaluation}
{names}
}} // namespace cxxrtl_design
"""


class UnnamedError(Exception):
    """The text has not the form from which names are taken."""


def names_of(text: str) -> str:
    """Return the class ``p_named``, to stand behind the ``p_top`` of the same design.

    Parameters
    ----------
    text : str
        What ``write_cxxrtl -g4`` writes for the design.

    Raises
    ------
    UnnamedError
        If the text has another form.
    """
    members = [line for line in _between(text, _CLASS, _CLASS_END).splitlines() if _OUTLINE in line]
    evaluation = _function(text, _EVALUATION) if members else "void p_named::debug_eval() {}\n"
    return _NAMED.format(members="\n".join(members), evaluation=evaluation, names=_function(text, _NAMES))


def _function(text: str, start: str) -> str:
    """Return a function of ``p_top`` as one of ``p_named``."""
    return start.replace("p_top", "p_named") + _between(text, start, _FUNCTION_END) + _FUNCTION_END


def _between(text: str, start: str, end: str) -> str:
    _, found, rest = text.partition(start)
    inside, ended, _ = rest.partition(end)
    if not (found and ended):
        raise UnnamedError(f"there is no {start.strip()!r}")
    return inside

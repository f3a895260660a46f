"""Documents about a bundle for the technical file of a device team.

One measuring run feeds the verification result, the equivalence certificate, the page and the model
card. A document states what was measured and what is known; what only the team can know is marked.
"""

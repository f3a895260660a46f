"""Which blocks may be INT8: what each costs in pixels, gains in time, and what to choose.

``sensitivity`` measures the pixels, ``gains`` the milliseconds, ``planner`` chooses by measuring
whole candidates on the target.
"""

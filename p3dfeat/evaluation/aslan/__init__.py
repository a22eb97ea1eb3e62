"""Action similarity labelling (ASLAN): do two videos show the same action?"""
